import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { runProgram } from '../../harness/process.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function bench(...args: string[]): Promise<{ status: unknown; output: string }> {
  const program = runProgram('test/bench/gateways/run.mjs', args);
  return { status: await program.ended, output: program.output() };
}

/** The cells of a gateway's row in a scenario's table, by column. */
function rowOf(output: string, scenario: string, gateway: string): Record<string, string> {
  const table = output.split('### ').find((part) => part.startsWith(`${scenario} (`)) ?? '';
  const lines = table.split('\n').filter((line) => line.startsWith('| '));
  const [columns = [], , ...rows] = lines.map((line) => line.slice(2, -2).split(' | '));
  const row = rows.find(([name]) => name === gateway) ?? [];
  return Object.fromEntries(columns.map((column, i) => [column, row[i] ?? '']));
}

test('a run reports requests, fetches, processor time and memory, and draws the chart', async () => {
  const chart = join(folder, 'chart.svg');
  const gateway = 'Tributary, clients deduplicated, too';
  const { status, output } = await bench(
    '--seconds',
    '1',
    '--queries',
    'small,distinct',
    '--only',
    gateway,
    '--chart',
    chart,
  );
  expect(status, output).toBe(0);
  const [same, distinct] = ['small', 'distinct'].map((scenario) => rowOf(output, scenario, gateway));
  for (const row of [same, distinct]) {
    for (const column of ['requests/s', 'p50 ms', 'p99 ms', 'CPU µs per request', 'memory MB', 'peak MB'])
      expect(Number(row?.[column]), column).toBeGreaterThan(0);
    expect(row?.[`against ${gateway}`]).toBe('1.00');
  }
  // Equal requests share an answer; those of `distinct` share nothing.
  expect(Number(same?.['per request under load'])).toBeLessThan(Number(same?.['fetches for one']) / 2);
  expect(Number(distinct?.['per request under load'])).toBeGreaterThanOrEqual(Number(distinct?.['fetches for one']));
  expect(output).toMatch(/load from (wrk|autocannon); Node v\d+/);
  expect(output).toContain('Hive Router is left out: HIVE_ROUTER_BIN is not set.');
  expect(readFileSync(chart, 'utf8').match(new RegExp(gateway, 'g'))).toHaveLength(2);
}, 60_000);

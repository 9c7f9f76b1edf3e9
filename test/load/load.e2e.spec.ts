import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { runProgram } from '../harness/process.ts';

const SCENARIOS = ['storefront', 'history', 'office', 'checkout', 'hot'];

let graph: TestGraph;
const folder = mkdtempSync(join(tmpdir(), 'tributary-load-'));
const file = join(folder, 'report.html');
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(async () => {
  await graph?.stop();
  rmSync(folder, { recursive: true, force: true });
});

async function load(...args: string[]): Promise<{ status: unknown; output: string }> {
  const { users, products, orders, gateway } = graph.urls;
  const target = ['--url', gateway, '--services', [users, products, orders].join(), '--report', file];
  const program = runProgram('test/load/run.mjs', [...target, '--duration', '1', ...args]);
  return { status: await program.ended, output: program.output() };
}

/** A figure of the summary. */
const figure = (output: string, name: string) => Number(new RegExp(`^${name} +([\\d.]+)`, 'm').exec(output)?.[1]);

test.each(SCENARIOS)(
  '%s: every request is answered, and counted by the gateway as well',
  async (name) => {
    const { status, output } = await load('--scenario', name, '--clients', '4');
    expect(status, output).toBe(0);
    expect(output).toMatch(/^errors +none$/m);
    expect(figure(output, 'requests')).toBeGreaterThan(10);
    expect(figure(output, 'requests that the gateway counted')).toBe(figure(output, 'requests'));
  },
  60_000,
);

test('at a rate, the load test sends that many requests, however long they take', async () => {
  const { status, output } = await load('--rate', '40', '--duration', '2');
  expect(status, output).toBe(0);
  expect(figure(output, 'requests')).toBeGreaterThanOrEqual(79);
  expect(figure(output, 'requests')).toBeLessThanOrEqual(82);
  // Without a terminal, progress is plain lines.
  expect(output).toMatch(/^1 of 2 s {2}\d+ requests\/s .* in progress$/m);
  for (const control of ['\r', '\u001b']) expect(output).not.toContain(control);
}, 60_000);

test('the report is one file that needs nothing else', async () => {
  await load('--clients', '2');
  const html = readFileSync(file, 'utf8');
  expect(html).toContain('Requests a second');
  expect(html.match(/<polyline/g)).toHaveLength(4);
  expect(html).not.toMatch(/<(script|link|img|iframe)|src=|href=|@import|url\(/);
}, 60_000);

test('a failed request is reported by its code, and fails the run', async () => {
  const loading = load('--scenario', 'office', '--clients', '2', '--duration', '3');
  await graph.services.products.close();
  const { status, output } = await loading;
  await graph.stop();
  graph = await startGraph();
  expect(status, output).toBe(1);
  expect(output).toMatch(/^errors +[A-Z_]+ \d+/m);
}, 60_000);

test('--help lists every scenario', async () => {
  const { status, output } = await load('--help');
  expect(status).toBe(0);
  expect([...output.matchAll(/^ {4}(\w+) {2}/gm)].map(([, name]) => name)).toEqual(SCENARIOS);
});

test.each([
  [['--url', 'http://example.com'], '--url: expected this machine; got "http://example.com". Add --allow-remote'],
  [['--scenario', 'nothing'], '--scenario: expected one of storefront, history, office, checkout, hot; got "nothing"'],
  [['--clients', '0'], '--clients: expected a whole number above 0, up to 10000; got "0"'],
  [['--colour'], "Unknown option '--colour'"],
])('%j is refused in words', async (args, words) => {
  const { status, output } = await load(...args);
  expect(status).toBe(2);
  expect(output).toContain(words);
});

describe('the script for k6', () => {
  // k6 itself is not at hand: its modules are stood in for, the requests are real.
  const script = readFileSync(fileURLToPath(new URL('./k6.js', import.meta.url)), 'utf8');
  const scenarios = fileURLToPath(new URL('./scenarios.mjs', import.meta.url));

  /** Runs its setup, then each of its clients' functions 20 times. @returns how the checks went, and its options */
  async function run(env: Record<string, string>) {
    const standIn = `
      import { spawnSync } from 'node:child_process';
      const __ENV = ${JSON.stringify(env)};
      const checks = {};
      const check = (value, all) => { for (const [name, holds] of Object.entries(all)) (checks[name] ??= []).push(holds(value)); };
      const fail = (message) => { throw new Error(message); };
      const http = { post(url, body, { headers }) {
        const args = ['-s', '-w', '\\n%{http_code}', '-X', 'POST', url, '-d', body, ...Object.entries(headers).flatMap(([k, v]) => ['-H', k + ': ' + v])];
        const lines = spawnSync('curl', args, { encoding: 'utf8' }).stdout.split('\\n');
        const status = Number(lines.pop());
        return { status, json: (path) => JSON.parse(lines.join('\\n'))[path] };
      } };`;
    const text = script
      .replace(/^import .* from 'k6(\/http)?';$/gm, '')
      .replace("'./scenarios.mjs'", JSON.stringify(scenarios))
      .replace('export default function', 'function client');
    const end =
      'const data = setup(); for (let i = 0; i < 20; i++) client(data); console.log(JSON.stringify({ checks, options }));';
    const path = join(folder, `k6-${Object.values(env).join('-').replace(/\W/g, '')}.mjs`);
    writeFileSync(path, `${standIn}\n${text}\n${end}`);
    const program = runProgram(path);
    expect(await program.ended, program.output()).toBe(0);
    return JSON.parse(program.output()) as { checks: Record<string, boolean[]>; options: { scenarios: object } };
  }

  const haveCurl = (() => {
    try {
      return execFileSync('curl', ['--version']).length > 0;
    } catch {
      return false;
    }
  })();

  test.skipIf(!haveCurl).each(SCENARIOS)('%s is answered', async (SCENARIO) => {
    const { checks } = await run({ SCENARIO, URL: graph.urls.gateway });
    expect(checks['it was answered']).toHaveLength(20);
    expect(Object.values(checks).flat()).not.toContain(false);
  });

  test.skipIf(!haveCurl)('it can go by clients, by rate and by ramp', async () => {
    const executors = [];
    for (const how of [
      ['CLIENTS', '5'],
      ['RATE', '100'],
      ['RAMP', '1'],
    ] as const) {
      const { options } = await run({ SCENARIO: 'hot', URL: graph.urls.gateway, [how[0]]: how[1] });
      executors.push(options.scenarios);
    }
    expect(executors).toMatchObject([
      { hot: { executor: 'constant-vus', vus: 5 } },
      { hot: { executor: 'constant-arrival-rate', rate: 100 } },
      { hot: { executor: 'ramping-vus' } },
    ]);
  });
});

import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { SupergraphFallback } from './supergraph-fallback.js';

test('processes with one process id, as in containers, that write one file at once leave it whole', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'tributary-last-'));
  const path = join(directory, 'supergraph.json');
  const redis = { url: undefined, prefix: '' };
  const writers = Array.from(
    { length: 2 },
    () => new SupergraphFallback(path, redis, [{ name: 'a', url: 'http://a/' }], pino({ level: 'silent' })),
  );
  for (let i = 0; i < 20; i++) {
    const composedAt = new Date(i).toISOString();
    await Promise.all(
      writers.map((writer, n) =>
        writer.write({ composedAt, schemas: new Map([['a', '#'.repeat(200_000 - n * 50_000)]]) }),
      ),
    );
    expect(writers.map(({ problem }) => problem)).toEqual([null, null]);
    expect(JSON.parse(readFileSync(path, 'utf8')).composedAt).toBe(composedAt);
  }
  for (const writer of writers) writer.close();
  expect(readdirSync(directory)).toEqual(['supergraph.json']);
});

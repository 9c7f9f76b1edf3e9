import { spawnSync } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';

interface Target {
  readonly url: string;
  readonly body: string;
  readonly connections: number;
  readonly seconds: number;
}
interface LoadModule {
  readonly TOKEN: string;
  load(generator: string, target: Target): Promise<{ requests: number; ms: number; p50: number; p99: number }>;
}

const { load, TOKEN } = (await import(new URL('./load.mjs', import.meta.url).href)) as LoadModule;
const hasWrk = spawnSync('wrk', ['-v'], { stdio: 'ignore' }).error === undefined;

/** Every hundredth response on these paths. */
const WRONG: Readonly<Record<string, readonly [status: number, text: string]>> = {
  '/errors': [200, '{"data":{"a":null},"errors":[{"message":"lost"}]}'],
  '/status': [503, '{"data":{"a":1}}'],
  '/empty': [200, ''],
};
let server: Server;
let url: string;
const bodies = new Map<string, string[]>();

beforeAll(async () => {
  server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => {
      body += chunk;
    });
    request.on('end', () => {
      const path = request.url ?? '';
      const earlier = bodies.get(path) ?? [];
      bodies.set(path, earlier);
      const wrong = earlier.push(body) % 100 === 0 ? WRONG[path] : undefined;
      const [status, text] = wrong ?? [200, '{"data":{"a":1}}'];
      response.writeHead(status, { 'content-type': 'application/json' }).end(text);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterAll(() => server?.close());

describe.each(['wrk', 'autocannon'])('load from %s', (generator) => {
  const target = (path: string, body: string) => ({ url: url + path, body, connections: 4, seconds: 1 });

  test('counts requests and their time, and no two are alike if it is asked to', async ({ skip }) => {
    requireGenerator(skip);
    const path = `/distinct/${generator}`;
    const body = JSON.stringify({ query: `query Q($id: ID!) { a_${TOKEN}: a(id: $id) }`, variables: { id: TOKEN } });
    const rounds = [await load(generator, target(path, body)), await load(generator, target(path, body))];
    const requests = rounds.reduce((sum, round) => sum + round.requests, 0);
    const received = bodies.get(path) ?? [];
    // The end of a round cuts off at most one request of each connection.
    expect(received.length).toBeGreaterThanOrEqual(requests);
    expect(received.length).toBeLessThanOrEqual(requests + 2 * 4);
    expect(new Set(received).size).toBe(received.length);
    for (const text of received)
      expect(text).toMatch(/^\{"query":"query Q\(\$id: ID!\) \{ a_(x\d{8}): .*\{"id":"\1"\}\}$/);
    for (const { ms, p50, p99 } of rounds) {
      expect(ms).toBeGreaterThan(900);
      expect(p99).toBeGreaterThanOrEqual(p50);
    }
  });

  test('fails when one of a hundred responses is wrong', async ({ skip }) => {
    requireGenerator(skip);
    const loading = Object.keys(WRONG).map((path) => load(generator, target(path, '{"query":"{ a }"}')));
    const outcomes = (await Promise.allSettled(loading)).map((outcome) =>
      outcome.status === 'rejected' ? String(outcome.reason) : 'succeeded',
    );
    expect(outcomes).toEqual(Object.keys(WRONG).map(() => expect.stringMatching(/\d+ of \d+ requests failed: /)));
  });

  function requireGenerator(skip: (note: string) => void): void {
    if (generator !== 'wrk' || hasWrk) return;
    expect(inject('requireServices'), 'wrk is required here and was not found').toBe(false);
    skip('wrk is not installed');
  }
});

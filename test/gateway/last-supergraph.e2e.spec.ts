import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import { startGraph } from '../harness/graph.ts';
import { ask, codesOf } from '../harness/graphql-client.ts';
import { haveRedis, startRedis } from '../harness/redis.ts';
import { startTcpProxy, through } from '../harness/tcp-proxy.ts';
import { gateway, gatewayOver, subgraph, type TestGateway } from '../harness/test-gateway.ts';
import { until } from '../harness/until.ts';

const lines = ({ logs }: TestGateway, pattern: RegExp) => logs.filter(({ msg }) => pattern.test(msg));

async function pair() {
  const a = await subgraph('type Query { a: String }');
  const b = await subgraph('type Query { b: String }');
  return { a, b };
}

function path(): string {
  return join(mkdtempSync(join(tmpdir(), 'tributary-last-')), 'supergraph.json');
}

describe('a gateway that starts while a subgraph is down', () => {
  test('serves the supergraph that it served last, reports it, and continues with the subgraph when that is back', async () => {
    const { a, b } = await pair();
    const env = { SUPERGRAPH_FALLBACK: path() };
    const first = await gatewayOver({ a, b }, env);
    await until(
      async () => readFileSync(env.SUPERGRAPH_FALLBACK, { encoding: 'utf8', flag: 'a+' }).length,
      (length) => length > 0,
    );
    await first.gateway.close();
    const keptAt = () => JSON.parse(readFileSync(env.SUPERGRAPH_FALLBACK, 'utf8')).composedAt;
    const composedAt = keptAt();
    await b.down();
    // Meanwhile another subgraph got another schema: that wins.
    a.serve('type Query { a: String new: String }');

    const startedAt = performance.now();
    const second = await gatewayOver({ a, b }, env);
    expect(performance.now() - startedAt).toBeLessThan(3000);
    const answer = await ask(second.url, 'query Page { a new b }');
    expect(answer.data).toEqual({ a: 'a', new: 'new', b: null });
    expect(codesOf(answer)).toEqual(['SUBGRAPH_UNAVAILABLE']);
    const { status, body } = await second.readiness();
    expect(status).toBe(200);
    expect(body.status).toBe('degraded');
    expect(body.degraded?.supergraph).toMatch(/; b does not answer: .*ECONNREFUSED/);
    // A part of it is as old as it was, after any number of restarts.
    expect(body.degraded?.supergraph).toContain(`composed at ${composedAt}`);
    await until(
      async () => readFileSync(env.SUPERGRAPH_FALLBACK, 'utf8'),
      (text) => text.includes('new: String'),
    );
    expect(keptAt()).toBe(composedAt);

    // The data source reports it; the supergraph has every part.
    await until(
      async () => lines(second, /a subgraph fails/),
      (found) => found.length > 0,
    );

    await b.up();
    b.serve('type Query { b: String newer: String }');
    await until(
      () => ask(second.url, 'query Page { b newer }'),
      ({ data }) => data?.newer === 'newer',
    );
    await until(
      () => second.readiness(),
      ({ body: now }) => now.status === 'ready',
    );
    expect(second.logs.filter(({ level, msg }) => level >= 40 || /supergraph is composed/.test(msg))).toHaveLength(1);
  });

  test('and answers only just after that, logs nothing of it', async () => {
    const { a, b } = await pair();
    const env = { SUPERGRAPH_FALLBACK: path(), SUBGRAPH_TIMEOUT: '20s' };
    const first = await gatewayOver({ a, b }, env);
    await until(
      async () => readFileSync(env.SUPERGRAPH_FALLBACK, { encoding: 'utf8', flag: 'a+' }).length,
      (length) => length > 0,
    );
    await first.gateway.close();
    const asked = new Promise<ServerResponse>((resolve) => b.answerWith(resolve));
    const second = await gatewayOver({ a, b }, env);
    const degraded = await until(
      () => second.readiness(),
      ({ body }) => body.degraded?.supergraph !== undefined,
    );
    expect(degraded.body.degraded?.supergraph).toMatch(/b does not answer: it has not answered yet$/);
    // Longer than faults are given to pass unreported, and shorter than the time-out.
    const since = performance.now();
    await until(
      async () => performance.now() - since,
      (ms) => ms > 1500,
    );
    b.answerWith(undefined);
    (await asked).destroy();
    await until(
      () => second.readiness(),
      ({ body }) => body.status === 'ready',
    );
    expect(lines(second, /current schemas of all/)).toEqual([]);
  });

  test('and hangs, does not wait for it', async () => {
    const { a, b } = await pair();
    const env = { SUPERGRAPH_FALLBACK: path(), SUBGRAPH_TIMEOUT: '20s' };
    const first = await gatewayOver({ a, b }, env);
    await until(
      async () => readFileSync(env.SUPERGRAPH_FALLBACK, { encoding: 'utf8', flag: 'a+' }).length,
      (length) => length > 0,
    );
    await first.gateway.close();
    b.answerWith(() => undefined);
    const startedAt = performance.now();
    const second = await gatewayOver({ a, b }, env);
    expect(performance.now() - startedAt).toBeLessThan(4000);
    expect((await ask(second.url, 'query Page { a }')).data).toEqual({ a: 'a' });
    expect((await second.readiness()).body.degraded?.supergraph).toMatch(/b does not answer/);
    const closing = performance.now();
    await second.gateway.close();
    expect(performance.now() - closing).toBeLessThan(5000);
  });

  test('without any supergraph, serves those subgraphs that answer, and adds the others', async () => {
    const { a, b } = await pair();
    await b.down();
    const started = await gatewayOver({ a, b });
    expect((await ask(started.url, 'query Page { a }')).data).toEqual({ a: 'a' });
    expect(codesOf(await ask(started.url, 'query Page { b }'))).toEqual(['GRAPHQL_VALIDATION_FAILED']);
    const { status, body } = await started.readiness();
    expect([status, body.status]).toEqual([200, 'degraded']);
    expect(body.degraded?.supergraph).toMatch(/^composed at 20.* without b; b does not answer: .*ECONNREFUSED/);
    await b.up();
    await until(
      () => ask(started.url, 'query Page { a b }'),
      ({ data }) => data?.b === 'b',
    );
    expect(lines(started, /does not include the current schemas of all subgraphs/)).toHaveLength(1);
    expect(lines(started, /includes the current schemas of all subgraphs/)).toHaveLength(1);
    const [, added] = lines(started, /serving a new supergraph/);
    expect(added).toMatchObject({ added: ['Query.b'], removed: [] });
  });

  test('retries a subgraph that is down soon, however long it was down and however rarely schemas are read', async () => {
    const { a, b } = await pair();
    await b.down();
    const started = await gatewayOver({ a, b }, { SUPERGRAPH_POLL_INTERVAL: '1h' });
    const polls = async () => (await started.metric(/fetch_duration_seconds_count\{(?=.*"a")(?=.*outcome="ok")/)) ?? 0;
    await until(polls, (count) => count >= 6);
    await b.up();
    await until(
      () => ask(started.url, 'query Page { b }'),
      ({ data }) => data?.b === 'b',
      3000,
    );
  });

  test('without any supergraph, leaves out a service that does not compose without the one that is down', async () => {
    const graph = await startGraph();
    const { hostname, port } = new URL(graph.urls.products);
    // Nothing listens on port 1.
    const proxy = await startTcpProxy(hostname, 1);
    try {
      const { users, orders } = graph.urls;
      const SUBGRAPHS = `users=${users}/graphql,products=${through(proxy, graph.urls.products)}/graphql,orders=${orders}/graphql`;
      const started = await gateway({ SUBGRAPHS, SUPERGRAPH_POLL_INTERVAL: '5s' });
      await started.gateway.ready;
      const named = await ask(started.url, 'query Page { users(first: 1) { nodes { name } } }');
      expect(named.errors).toBeUndefined();
      expect(named.data.users.nodes).toHaveLength(1);
      const refused = await ask(started.url, 'query Page { order(number: "CA-2016-152156") { total { amount } } }');
      expect(codesOf(refused)).toEqual(['GRAPHQL_VALIDATION_FAILED']);
      expect(refused.errors?.[0]?.message).toContain('Cannot query field "order" on type "Query".');
      const { status, body } = await started.readiness();
      expect([status, body.status]).toEqual([200, 'degraded']);
      expect(body.degraded?.supergraph).toMatch(
        /^composed at 20\S+ without products, orders; without products, orders does not compose: Field "Product\.\w+" .*; products does not answer/,
      );
      proxy.redirect(Number(port));
      await until(
        () => ask(started.url, 'query Page { order(number: "CA-2016-152156") { items { product { name } } } }'),
        ({ data }) => data?.order?.items.length === 2,
        10_000,
      );
      await until(
        () => started.readiness(),
        ({ body: now }) => now.degraded?.supergraph === undefined,
      );
    } finally {
      await graph.stop();
      await proxy.close();
    }
  });

  test('ignores a fallback that is damaged or of other subgraphs, and reports it', async () => {
    const { a, b } = await pair();
    const env = { SUPERGRAPH_FALLBACK: path() };
    const first = await gatewayOver({ a, b }, env);
    const text = await until(
      async () => readFileSync(env.SUPERGRAPH_FALLBACK, { encoding: 'utf8', flag: 'a+' }),
      (stored) => stored.length > 0,
    );
    await first.gateway.close();
    await b.down();
    const damaged = [
      text.slice(0, text.length / 2),
      text.replace('b: String', 'b: {'),
      text.replaceAll('"name":"b"', '"name":"c"'),
      text.replaceAll('http://127.0.0.1', 'http://127.0.0.2'),
      '[]',
    ];
    const checks = damaged.map(async (content) => {
      const SUPERGRAPH_FALLBACK = path();
      writeFileSync(SUPERGRAPH_FALLBACK, content);
      const started = await gatewayOver({ a, b }, { SUPERGRAPH_FALLBACK });
      expect(codesOf(await ask(started.url, 'query Page { b }')), content).toEqual(['GRAPHQL_VALIDATION_FAILED']);
      expect(lines(started, /it is ignored/), content).toHaveLength(1);
    });
    await Promise.all(checks);
  });

  const needed = haveRedis();
  test.skipIf(!needed)(
    `takes it from Redis, and goes on without when that hangs, too${needed ? '' : ' (redis-server is not installed)'}`,
    async () => {
      const { a, b } = await pair();
      const redis = await startRedis();
      const client = new Redis(redis.url);
      client.on('error', () => undefined);
      try {
        const env = { SUPERGRAPH_FALLBACK: 'redis', REDIS_URL: redis.url };
        const first = await gatewayOver({ a, b }, env);
        await until(
          () => client.keys('tributary:supergraph:*'),
          (keys) => keys.length === 1,
        );
        await first.gateway.close();
        await b.down();
        const second = await gatewayOver({ a, b }, env);
        expect((await ask(second.url, 'query Page { a b }')).data).toEqual({ a: 'a', b: null });
        await second.gateway.close();
        // Redis hangs, too: those that answer are served.
        redis.signal('SIGSTOP');
        const third = await gatewayOver({ a, b }, env);
        expect((await ask(third.url, 'query Page { a }')).data).toEqual({ a: 'a' });
        expect(codesOf(await ask(third.url, 'query Page { a b }'))).toEqual(['GRAPHQL_VALIDATION_FAILED']);
        // As soon as Redis says what was served last, that is.
        redis.signal('SIGCONT');
        await until(
          () => ask(third.url, 'query Page { a b }'),
          ({ data }) => data?.a === 'a',
        );
        expect(lines(third, /last supergraph/).map(({ level }) => level)).toEqual([40, 30]);
      } finally {
        client.disconnect();
        await redis.kill();
      }
    },
  );
});

test('SUPERGRAPH_FALLBACK=redis needs REDIS_URL', async () => {
  await expect(gateway({ SUPERGRAPH_FALLBACK: 'redis' })).rejects.toThrow(
    'REDIS_URL: expected a URL such as redis://host:6379 for SUPERGRAPH_FALLBACK=redis',
  );
});

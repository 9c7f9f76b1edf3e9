import { InProcessBus } from '@tributary/bus';
import { afterEach, expect, test } from 'vitest';
import { ask } from '../harness/graphql-client.ts';
import { haveRedis, startRedis } from '../harness/redis.ts';
import { gateway, gatewayOver, over, subgraph, type TestGateway } from '../harness/test-gateway.ts';
import { until } from '../harness/until.ts';

const ENV = { SUBGRAPH_TIMEOUT: '60s', SUPERGRAPH_POLL_INTERVAL: '100ms', CIRCUIT_BREAKER_FAILURES: '0' };
const needed = haveRedis();

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** Whether the gateway sends it by itself. */
const isPoll = (query: string) => /_service|^\{ ?__typename/.test(query);

async function closesSoon({ gateway: running, logs }: TestGateway): Promise<void> {
  const startedAt = performance.now();
  await running.close();
  expect(performance.now() - startedAt).toBeLessThan(5000);
  expect(logs.filter(({ level }) => level >= 50)).toEqual([]);
}

test('a gateway that waits for the schema of a subgraph that hangs ends within 5 s', async () => {
  const a = await subgraph('type Query { a: String }');
  const b = await subgraph('type Query { b: String }');
  b.answerWith(() => undefined);
  const started = await gateway({ ...over({ a, b }), ...ENV });
  await until(started.readiness, ({ body }) => body.problem !== null);
  await closesSoon(started);
  await started.gateway.ready;
});

test('a gateway whose subgraph hangs ends within 5 s, and answers its requests', async () => {
  const a = await subgraph('type Query { a: String b: String }');
  const started = await gatewayOver({ a }, ENV);
  let asked = 0;
  a.answerWith((_response, { query }) => {
    if (!isPoll(query)) asked += 1;
  });
  const answers = ['query One { a }', 'query Two { b }', 'query Three { a b }'].map((query) => ask(started.url, query));
  await until(
    async () => asked,
    (count) => count >= answers.length,
  );
  await closesSoon(started);
  for (const { data, errors } of await Promise.all(answers)) {
    expect(Object.values(data)).toEqual(Object.values(data).map(() => null));
    expect(errors?.[0]).toMatchObject({
      message: 'Subgraph "a" had not answered when the gateway shut down; try again.',
      extensions: { code: 'SUBGRAPH_UNAVAILABLE' },
    });
  }
});

test('a mutation that takes four seconds is answered as usual while the gateway closes', async () => {
  const a = await subgraph('type Query { a: String } type Mutation { place: String }');
  const started = await gatewayOver({ a }, ENV);
  const received = new Promise<void>((resolve) =>
    a.answerWith((response, { query }) => {
      if (isPoll(query)) return;
      resolve();
      setTimeout(() => response.setHeader('content-type', 'application/json').end('{"data":{"place":"done"}}'), 4000);
    }),
  );
  const answer = ask(started.url, 'mutation { place }');
  await received;
  await closesSoon(started);
  expect(await answer).toEqual({ data: { place: 'done' }, status: 200 });
});

test.skipIf(!needed)(
  `a gateway whose Redis hangs ends within 5 s${needed ? '' : ' (redis-server is not installed)'}`,
  async () => {
    const a = await subgraph('type Query { a: String }');
    const redis = await startRedis();
    cleanUps.push(() => redis.kill());
    const bus = new InProcessBus();
    const beat = setInterval(() => bus.publishInvalidations('a', { from: 1, to: 1, at: Date.now(), touched: [] }), 50);
    cleanUps.push(() => clearInterval(beat));
    const env = { ...over({ a }), ...ENV, REDIS_URL: redis.url, SUPERGRAPH_FALLBACK: 'redis' };
    const started = await gateway(env, { bus });
    await started.gateway.ready;
    redis.signal('SIGSTOP');
    bus.publishInvalidations('a', {
      from: 1,
      to: 2,
      at: Date.now(),
      touched: [{ position: 2, entities: ['A:1'], erased: true }],
    });
    a.serve('type Query { a: String more: String }');
    await until(
      () => ask(started.url, 'query Page { more }'),
      ({ data }) => data?.more === 'more',
    );
    await closesSoon(started);
    // One that starts while Redis hangs does so, too.
    const second = await gateway(env, { bus });
    await second.gateway.ready;
    await closesSoon(second);
  },
);

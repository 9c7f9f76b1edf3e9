import { InProcessBus } from '@tributary/bus';
import { Redis } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
import { ask } from '../harness/graphql-client.ts';
import { startHeldSubgraph } from '../harness/held-subgraph.ts';
import { haveRedis, startRedis, type TestRedis } from '../harness/redis.ts';
import { startTcpProxy, through } from '../harness/tcp-proxy.ts';
import { gateway } from '../harness/test-gateway.ts';
import { until } from '../harness/until.ts';

const needed = haveRedis();
const without = needed ? '' : ' (redis-server is not installed)';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A gateway with Redis that keeps what it reads of one service. @param delayMs what each way to Redis and back takes */
async function start(delayMs = 0) {
  const items = await startHeldSubgraph(
    'type Query { item(id: ID!): Item @cacheControl } type Item @key(fields: "id") @cacheControl { id: ID! size: Int text: String }',
    { Query: { item: (_root: unknown, { id }: { id: string }) => ({ id, size: 1, text: 'x'.repeat(300_000) }) } },
  );
  items.positions = 'items=1';
  cleanUps.push(() => items.stop());
  const bus = new InProcessBus();
  const clock = { aheadMs: 0, speaks: true };
  const beat = setInterval(() => {
    if (clock.speaks)
      bus.publishInvalidations('items', { from: 1, to: 1, at: Date.now() + clock.aheadMs, touched: [] });
  }, 100);
  cleanUps.push(() => clearInterval(beat));
  const redis = await startRedis();
  cleanUps.push(() => redis.kill());
  const client = new Redis(redis.url);
  client.on('error', () => undefined);
  cleanUps.push(() => client.disconnect());
  const way = await startTcpProxy('127.0.0.1', Number(new URL(redis.url).port), () => delayMs);
  cleanUps.push(() => way.close());
  // Each read of the second gateway is of something that it has not in memory: nothing fits in there.
  const startGateway = async (more: NodeJS.ProcessEnv = {}) => {
    const env = {
      SUBGRAPHS: `items=${items.url}`,
      REDIS_URL: delayMs ? through(way, redis.url) : redis.url,
      SUPERGRAPH_POLL_INTERVAL: '1h',
    };
    const started = await gateway({ ...env, ...more }, { bus });
    await started.gateway.ready;
    return started;
  };
  const running = await startGateway();
  const query = 'query Item($id: ID!) { item(id: $id) { size } }';
  let count = 0;
  const read = () => {
    count += 1;
    return ask(running.url, query, { id: `i${count}` });
  };
  const another = async (more: NodeJS.ProcessEnv = {}) => {
    const started = await startGateway({ CACHE_MAX_BYTES: '1', ...more });
    return { ...started, readFirst: () => ask(started.url, query, { id: 'i1' }) };
  };
  return { ...running, items, bus, redis, client, read, another, clock };
}

test.skipIf(!needed)(
  `each fault of Redis is counted, logged once with its cause, and once when it is over${without}`,
  { timeout: 60_000 },
  async () => {
    type Change = (client: Redis, redis: TestRedis) => unknown;
    const faults: [what: string, cause: RegExp, begin: Change, end: Change][] = [
      ['hangs', /within 1000 ms/, (_, redis) => redis.signal('SIGSTOP'), (_, redis) => redis.signal('SIGCONT')],
      [
        'out of memory',
        /OOM/,
        (client) => client.config('SET', 'maxmemory', '1'),
        (client) => client.config('SET', 'maxmemory', '0'),
      ],
      [
        'takes no writes',
        /READONLY/,
        (client) => client.replicaof('127.0.0.1', 1),
        (client) => client.replicaof('NO', 'ONE'),
      ],
      ['gone', /ECONNREFUSED|ended/, (_, redis) => redis.kill(), (_, redis) => redis.start()],
    ];
    const checks = faults.map(async ([what, cause, begin, end]) => {
      const { redis, client, read, logs, metric, readiness } = await start();
      const failures = () => metric(/^gateway_cache_redis_failures_total/).then((count) => count ?? 0);
      await until(
        async () => {
          await read();
          return client.keys('tributary:2:*');
        },
        (keys) => keys.length > 0,
      );
      const before = await failures();
      await begin(client, redis);
      await until(
        async () => {
          expect((await read()).data.item.size, what).toBe(1);
          return (await readiness()).body;
        },
        ({ status, degraded }) => status === 'degraded' && cause.test(degraded?.Redis ?? ''),
      );
      expect(await failures(), what).toBeGreaterThan(before);
      for (let i = 0; i < 20; i++) await read();
      const logged = () => logs.filter(({ msg }) => msg.startsWith('Redis'));
      expect(logged(), what).toMatchObject([{ level: 40, cause: expect.any(String) }]);
      await end(client, redis);
      await until(
        async () => logged(),
        (lines) => lines.length === 2,
      );
      expect((await readiness()).body.degraded?.Redis, what).toBeUndefined();
      expect(
        logged().map(({ level }) => level),
        what,
      ).toEqual([40, 30]);
    });
    await Promise.all(checks);
  },
);

test.skipIf(!needed)(
  `a Redis that answers later than requests wait, as to a busy gateway, is counted, and is no fault${without}`,
  { timeout: 60_000 },
  async () => {
    const { read, metric, logs, readiness } = await start(20);
    const late = () => metric(/^gateway_cache_redis_late_total/).then((count) => count ?? 0);
    const startedAt = performance.now();
    await until(
      async () => {
        expect((await read()).data.item.size).toBe(1);
        expect((await readiness()).body.status).toBe('ready');
        return late();
      },
      (count) => count > 5 && performance.now() - startedAt > 3000,
    );
    expect(await metric(/^gateway_cache_redis_failures_total/)).toBe(0);
    expect(logs.filter(({ msg }) => msg.startsWith('Redis'))).toEqual([]);
  },
);

test.skipIf(!needed)(
  `environments with one Redis database and a prefix each share nothing${without}`,
  { timeout: 60_000 },
  async () => {
    const { read, client, another } = await start();
    const keys = (pattern: string) => client.keys(pattern);
    await until(
      () => read().then(() => keys('tributary:2:*')),
      (found) => found.length > 0,
    );
    const before = await keys('tributary:*');
    const staging = await another({ REDIS_PREFIX: 'staging', SUPERGRAPH_FALLBACK: 'redis' });
    await until(
      () =>
        staging
          .readFirst()
          .then(() => Promise.all(['2', 'erased:2', 'supergraph:1'].map((of) => keys(`staging:${of}:*`)))),
      (found) => found.every(({ length }) => length > 0),
    );
    const [supergraph = ''] = await keys('staging:supergraph:*');
    expect(await client.ttl(supergraph)).toBeGreaterThan(29 * 24 * 3600);
    const others = (await keys('*')).filter((key) => !/^(staging|tributary):/.test(key));
    expect([others, before.filter((key) => key.includes('supergraph'))]).toEqual([[], []]);
  },
);

test.skipIf(!needed)(
  `a large entry is cached in memory only, and an erasure still searches large entries in Redis${without}`,
  { timeout: 60_000 },
  async () => {
    const { bus, client, clock, items, read, url } = await start();
    const readLarge = () => ask(url, 'query Large { item(id: "large") { text } }');
    await until(
      async () => {
        await read();
        await readLarge();
        const { length } = items.requests;
        expect((await readLarge()).data.item.text).toHaveLength(300_000);
        return items.requests.length === length;
      },
      (isCached) => isCached,
    );
    const stored = await until(
      async () => {
        await read();
        return (await client.keys('tributary:2:*')).filter((key) => !key.endsWith(':lease'));
      },
      (keys) => keys.length > 0,
    );
    for (const key of stored) expect(await client.strlen(key)).toBeLessThan(10_000);
    clock.speaks = false;
    const entry = {
      text: JSON.stringify(Array.from({ length: 30_000 }, (_, i) => `item number ${1e15 + i}`)),
      owner: 'items',
      positions: [['items', 1]],
      entities: ['Item:i1'],
      owned: [],
      storedAt: 0,
    };
    for (let i = 0; i < 120; i++) await client.set(`tributary:2:large-${i}`, JSON.stringify(entry));
    const touched = [{ position: 2, entities: ['Item:i1'], erased: true as const }];
    bus.publishInvalidations('items', { from: 1, to: 2, at: Date.now(), touched });
    await until(
      () => client.keys('tributary:2:large-*'),
      (keys) => keys.length === 0,
      5000,
    );
  },
);

test.skipIf(!needed)(
  `a gateway that starts while a source is silent says so, and how long it has been${without}`,
  { timeout: 60_000 },
  async () => {
    const { clock, another } = await start();
    clock.speaks = false;
    const { readFirst, readiness, metric } = await another();
    await readFirst();
    const reason = async () => (await readiness()).body.degraded?.['source items'];
    expect(await until(reason, (given) => given !== undefined)).toMatch(/^no message since this gateway started/);
    expect(await metric(/^gateway_cache_source_age_seconds/)).toBeGreaterThan(2);
    clock.speaks = true;
    await until(reason, (given) => given === undefined);
  },
);

test.skipIf(!needed)(
  `a source of which nothing is cached is reported at /health/ready, and logged once${without}`,
  { timeout: 60_000 },
  async () => {
    const faults: [reason: RegExp, begin: (clock: { aheadMs: number; speaks: boolean }) => void][] = [
      [
        /its messages are (89|9\d) s old \(is its clock behind\?\): nothing of it is cached/,
        (clock) => {
          clock.aheadMs = -90_000;
        },
      ],
      [
        /no message for \d+ s: nothing of it is cached/,
        (clock) => {
          clock.speaks = false;
        },
      ],
    ];
    const checks = faults.map(async ([reason, begin]) => {
      const { clock, readiness, logs } = await start();
      const reasonGiven = async () => (await readiness()).body.degraded?.['source items'];
      await until(reasonGiven, (given) => given === undefined);
      begin(clock);
      expect(await until(reasonGiven, (given) => given !== undefined)).toMatch(reason);
      expect((await readiness()).status).toBe(200);
      clock.aheadMs = 0;
      clock.speaks = true;
      await until(reasonGiven, (given) => given === undefined);
      expect(logs.filter(({ source }) => source === 'items').map(({ level }) => level)).toEqual([40, 30]);
    });
    await Promise.all(checks);
  },
);

test.skipIf(!needed)(
  `whatever else is found in Redis in place of an entry costs a fetch, and no answer${without}`,
  { timeout: 60_000 },
  async () => {
    const first = await start();
    const second = await first.another();
    const keys = await until(
      async () => {
        await first.read();
        return (await first.client.keys('tributary:2:*')).filter((key) => !key.endsWith(':lease'));
      },
      (found) => found.length >= 3,
    );
    const entry = JSON.parse((await first.client.get(keys[0] as string)) as string);
    const found = [
      '',
      'no JSON',
      '5',
      '[]',
      '{}',
      JSON.stringify({ ...entry, text: 'no JSON' }),
      JSON.stringify({ ...entry, text: '5' }),
      JSON.stringify({ ...entry, text: '[]' }),
      JSON.stringify({ ...entry, text: 'null' }),
      JSON.stringify({ ...entry, text: '{"item":5}' }),
      JSON.stringify({ ...entry, positions: ['items', 1] }),
      JSON.stringify({ ...entry, positions: [['items', '1']] }),
      JSON.stringify({ ...entry, entities: null }),
      JSON.stringify({ ...entry, owner: 7, positions: {} }),
    ];
    for (const value of found) {
      for (const key of keys) await first.client.set(key, value);
      const { status, data } = await second.readFirst();
      expect([status, Object.keys(data ?? {})], value).toEqual([200, ['item']]);
    }
    for (const key of keys) await first.client.del(key).then(() => first.client.hset(key, 'a', 'b'));
    expect((await second.readFirst()).status).toBe(200);
    expect([...first.logs, ...second.logs].filter(({ level }) => level >= 50)).toEqual([]);
  },
);

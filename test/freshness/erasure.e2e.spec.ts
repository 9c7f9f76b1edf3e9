import { InProcessBus } from '@tributary/bus';
import type { Invalidation } from '@tributary/consistency';
import { Redis } from 'ioredis';
import { afterEach, expect, test } from 'vitest';
import { ControlledBus } from '../harness/controlled-bus.ts';
import { ask } from '../harness/graphql-client.ts';
import { startHeldSubgraph } from '../harness/held-subgraph.ts';
import { haveRedis, startRedis } from '../harness/redis.ts';
import { gateway, type TestGateway } from '../harness/test-gateway.ts';
import { until } from '../harness/until.ts';

const SCHEMA = `
  type Query { user(id: ID!): User @cacheControl users: [User!]! @cacheControl(of: ["User"]) }
  type User @key(fields: "id") @cacheControl { id: ID! name: String! }`;
const NAMES: Record<string, string> = { u1: 'Claire Gute', u2: 'Darrin Van Huff' };
/** The most that may pass until what was erased is gone. */
const GONE_WITHIN_MS = 5000;

const needed = haveRedis();
const without = needed ? '' : ' (redis-server is not installed)';

const cleanUps: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A service that owns users and says what happened to them, Redis, and gateways over both. */
async function start() {
  const names = { ...NAMES };
  const users = () => Object.entries(names).map(([id, name]) => ({ __typename: 'User', id, name }));
  const subgraph = await startHeldSubgraph(SCHEMA, {
    Query: { users, user: (_root: unknown, { id }: { id: string }) => users().find((user) => user.id === id) ?? null },
  });
  cleanUps.push(() => subgraph.stop());
  const redis = await startRedis();
  cleanUps.push(() => redis.kill());
  const client = new Redis(redis.url);
  client.on('error', () => undefined);
  cleanUps.push(() => client.disconnect());
  const bus = new InProcessBus();
  let position = 1;
  subgraph.positions = 'users=1';
  const say = (touched: readonly Invalidation[]) => {
    const from = position;
    if (touched.length > 0) position += 1;
    subgraph.positions = `users=${position}`;
    bus.publishInvalidations('users', { from, to: position, at: Date.now(), touched });
  };
  const beat = setInterval(() => say([]), 100);
  cleanUps.push(() => clearInterval(beat));
  return {
    redis,
    client,
    subgraph,
    names,
    say,
    position: () => position,
    /** Deletes a user: the service has forgotten the name when it says so. */
    erase(id: string) {
      delete names[id];
      say([{ position: position + 1, entities: [`User:${id}`], erased: true }]);
    },
    async gateway() {
      const connection = new ControlledBus(bus);
      const env = { SUBGRAPHS: `users=${subgraph.url}`, REDIS_URL: redis.url, SUPERGRAPH_POLL_INTERVAL: '1h' };
      const started = await gateway(env, { bus: connection });
      await started.gateway.ready;
      return { ...started, connection };
    },
    /** All that Redis holds, and for how long. */
    async stored(): Promise<string> {
      const values = await Promise.all(
        (await client.keys('*')).map((key) => client.get(key).then((value) => `${key}: ${value}`)),
      );
      return values.join('\n');
    },
  };
}

type Started = Awaited<ReturnType<typeof start>>;

const ONE = 'query One($id: ID!) { user(id: $id) { name } }';
const ALL = 'query All { users { name } }';

/** Reads until the answers are in the caches of the gateway and in Redis. */
async function warm({ url }: TestGateway, { subgraph, say, position, stored }: Started) {
  await until(
    async () => {
      const before = subgraph.requests.length;
      for (const id of Object.keys(NAMES)) await ask(url, ONE, { id });
      await ask(url, ALL);
      if (subgraph.requests.length > before) return false;
      const text = await stored();
      if (text.includes('Claire Gute') && text.includes('Darrin')) return true;
      // Redis was busy when the gateway wrote them: they are read again.
      say([{ position: position() + 1, entities: Object.keys(NAMES).map((id) => `User:${id}`) }]);
      return false;
    },
    (isWarm) => isWarm,
  );
}

/** How many bytes a gateway holds in memory. */
const bytes = ({ metric }: TestGateway) => metric(/^gateway_cache_bytes/).then((value) => value ?? -1);

const gone = ({ stored }: Started) => until(stored, (text) => !text.includes('Claire'), GONE_WITHIN_MS);

test.skipIf(!needed)(`what was erased is gone from memory and from Redis, and the rest stays${without}`, async () => {
  const graph = await start();
  const running = await graph.gateway();
  await warm(running, graph);
  const before = await bytes(running);
  graph.erase('u1');
  expect(await gone(graph)).toContain('Darrin Van Huff');
  // Two of the three entries held the name: that of the user, and the list.
  const after = await until(
    () => bytes(running),
    (now) => now < before / 2,
    GONE_WITHIN_MS,
  );
  expect(after).toBeGreaterThan(0);
  const requests = graph.subgraph.requests.length;
  expect((await ask(running.url, ONE, { id: 'u2' })).data.user.name).toBe('Darrin Van Huff');
  expect(graph.subgraph.requests).toHaveLength(requests);
  expect((await ask(running.url, ALL)).data.users).toEqual([{ name: 'Darrin Van Huff' }]);
  expect(JSON.stringify(running.logs)).not.toContain('Claire');
});

test.skipIf(!needed)(`what was read before an erasure, and arrives after it, is not cached${without}`, async () => {
  const graph = await start();
  const running = await graph.gateway();
  // It has received invalidations of the source: what it reads is cached.
  await until(
    () => running.metric(/^gateway_cache_source_age_seconds/),
    (age) => age !== undefined,
  );
  graph.subgraph.holds = () => true;
  const requests = graph.subgraph.requests.length;
  const late = ask(running.url, ONE, { id: 'u1' });
  await until(
    async () => graph.subgraph.requests.length,
    (count) => count > requests,
  );
  graph.erase('u1');
  await until(
    async () => running.gateway.watermark('users'),
    (position) => position === 2,
  );
  graph.subgraph.answer();
  expect((await late).data.user.name).toBe('Claire Gute');
  // If the late response had been cached, it would be there by now: what was read after it is.
  await until(
    async () => {
      await ask(running.url, ONE, { id: 'u2' });
      return graph.stored();
    },
    (text) => text.includes('Darrin'),
  );
  expect(await graph.stored()).not.toContain('Claire');
});

test.skipIf(!needed)(`what was erased while no gateway ran is gone soon after one starts${without}`, async () => {
  const graph = await start();
  const first = await graph.gateway();
  await warm(first, graph);
  await first.gateway.close();
  graph.erase('u1');
  expect(await graph.stored()).toContain('Claire');
  await graph.gateway();
  await gone(graph);
});

test.skipIf(!needed)(
  `a gateway that starts leaves what another one has updated${without}`,
  { timeout: 60_000 },
  async () => {
    const graph = await start();
    const first = await graph.gateway();
    await warm(first, graph);
    graph.erase('u1');
    await gone(graph);
    await until(
      () => graph.stored(),
      (text) => text.includes(`users: ${graph.position()}`),
    );
    const entries = (await graph.stored()).split('Darrin').length;
    const second = await graph.gateway();
    // It looks three times, a second apart.
    const startedAt = performance.now();
    await until(
      async () => performance.now() - startedAt,
      (passed) => passed > 4000,
    );
    expect((await graph.stored()).split('Darrin')).toHaveLength(entries);
    expect(second.logs.filter(({ level }) => level > 30)).toEqual([]);
  },
);

test.skipIf(!needed)(
  `what was erased while a gateway was cut off is gone soon after it is reconnected${without}`,
  async () => {
    const graph = await start();
    const running = await graph.gateway();
    await warm(running, graph);
    const before = await bytes(running);
    running.connection.hold();
    graph.erase('u1');
    // The message is lost: what follows shows the gap.
    await until(
      async () => running.connection.lose(),
      (invalidations) => invalidations.some(({ touched }) => touched.length > 0),
    );
    expect(await graph.stored()).toContain('Claire');
    running.connection.resume();
    await gone(graph);
    await until(
      () => bytes(running),
      (now) => now < before / 2,
      GONE_WITHIN_MS,
    );
  },
);

test.skipIf(!needed)(
  `what was erased while Redis hung is gone when it goes on${without}`,
  { timeout: 60_000 },
  async () => {
    const graph = await start();
    const running = await graph.gateway();
    await warm(running, graph);
    graph.redis.signal('SIGSTOP');
    graph.erase('u1');
    await until(
      () => bytes(running),
      (now) => now < 2000,
      GONE_WITHIN_MS,
    );
    // Until the gateway has given up at least once.
    await until(
      async () => running.logs.filter(({ msg }) => msg.includes('Redis fails')),
      (lines) => lines.length > 0,
    );
    graph.redis.signal('SIGCONT');
    await gone(graph);
    await until(
      async () => running.logs.filter(({ msg }) => msg.includes('Redis works again')),
      (lines) => lines.length > 0,
    );
  },
);

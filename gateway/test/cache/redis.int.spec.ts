import { type EventBus, InProcessBus } from '@tributary/bus';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { expect, inject, test } from 'vitest';
import { ControlledBus } from '../../../test/harness/controlled-bus.ts';
import { startGraph } from '../../../test/harness/graph.ts';
import { ask } from '../../../test/harness/graphql-client.ts';
import { createItemDatabases, startItems } from '../../../test/harness/item-services.ts';
import { haveRedis, startRedis } from '../../../test/harness/redis.ts';
import { startTcpProxy } from '../../../test/harness/tcp-proxy.ts';
import { until } from '../../../test/harness/until.ts';
import { createGateway } from '../../src/app.js';
import { readConfig } from '../../src/config.js';

const QUERY = '{ product(id: "FUR-BO-10001798") { name price { amount } } }';
const needed = haveRedis();

test.skipIf(!needed)(
  `gateways share what they keep, and go on without Redis, whatever becomes of it${needed ? '' : ' (redis-server is not installed)'}`,
  { timeout: 60_000 },
  async () => {
    const redis = await startRedis();
    const bus = new InProcessBus();
    const graph = await startGraph({ bus, gatewayEnv: { REDIS_URL: redis.url } });
    const other = await createGateway(
      readConfig({
        GATEWAY_PORT: '0',
        SUBGRAPHS: ['users', 'products', 'orders']
          .map((name) => `${name}=${graph.urls[name as 'users']}/graphql`)
          .join(),
        REDIS_URL: redis.url,
        SUPERGRAPH_POLL_INTERVAL: '1h',
      }),
      pino({ level: 'silent' }),
      { bus },
    );
    const otherUrl = await other.listen();
    await other.ready;
    const urls = [graph.urls.gateway, otherUrl];
    const explained = async (url: string) => {
      const { data, errors, extensions } = await ask(url, QUERY, {}, { 'x-explain': 'yes' });
      expect(errors).toBeUndefined();
      const { fetches, durationMs } = (
        extensions as { explanation: { fetches: { cached: number }[]; durationMs: number } }
      ).explanation;
      return { amount: data.product.price.amount, cached: fetches.every(({ cached }) => cached > 0), durationMs };
    };
    const change = async (amount: string) => {
      const { headers } = await fetch(`${graph.urls.gateway}/graphql`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ query: `mutation { changePrice(id: "FUR-BO-10001798", price: "${amount}") { id } }` }),
      });
      expect(headers.get('x-consistency-token')).toBeTruthy();
      for (const url of urls) {
        await until(
          () => explained(url),
          (answer) => answer.amount === amount,
        );
      }
    };
    try {
      // One reads, and the other has it. (Each attempt with another product: what the other has read once, it has itself.)
      const ids = (await ask(otherUrl, '{ products(first: 50) { nodes { id } } }')).data.products.nodes as {
        id: string;
      }[];
      await until(
        async () => {
          const query = `{ product(id: "${ids.pop()?.id}") { name } }`;
          await ask(graph.urls.gateway, query);
          graph.statements.products.length = 0;
          expect((await ask(otherUrl, query)).errors).toBeUndefined();
          return graph.statements.products.length;
        },
        (statements) => statements === 0,
      );
      // Both miss at the same moment: one fetches.
      await until(
        async () => {
          const query = `{ product(id: "${ids.pop()?.id}") { sku category } }`;
          graph.statements.products.length = 0;
          await Promise.all(urls.map((url) => ask(url, query)));
          return graph.statements.products.length;
        },
        (statements) => statements === 1,
      );
      await change('70.00');

      // Paused: each request waits for it briefly, and soon no request waits at all.
      redis.signal('SIGSTOP');
      const times: number[] = [];
      for (let i = 0; i < 10; i++) {
        await change(`71.0${i}`);
        times.push((await explained(otherUrl)).durationMs);
      }
      expect(times.filter((ms) => ms > 500)).toEqual([]);
      expect(await (await fetch(`${otherUrl}/metrics`)).text()).toMatch(/gateway_cache_redis_late_total\{.*\} [1-9]/);
      redis.signal('SIGCONT');
      await change('72.00');

      await redis.kill();
      await change('73.00');
      await redis.start();
      await change('74.00');
    } finally {
      await other.close();
      await graph.stop();
      await redis.kill();
    }
  },
);

test.skipIf(!needed)(
  `an entry that a gateway with another clock wrote keeps a request's bound${needed ? '' : ' (redis-server is not installed)'}`,
  async () => {
    const bus = new InProcessBus();
    const databases = await createItemDatabases(1);
    const { hostname, port } = new URL(inject('postgresUrl'));
    const [redis, database] = await Promise.all([startRedis(), startTcpProxy(hostname, Number(port))]);
    const items = await startItems(databases, { database, bus });
    const start = async (connection: EventBus) => {
      const env = { GATEWAY_PORT: '0', SUBGRAPHS: `items=${items.url}/graphql`, REDIS_URL: redis.url };
      const gateway = await createGateway(
        readConfig({ ...env, SUPERGRAPH_POLL_INTERVAL: '1h' }),
        pino({ level: 'silent' }),
        { bus: connection },
      );
      const url = await gateway.listen();
      await gateway.ready;
      const read = async (headers: Record<string, string> = {}) => {
        const query = 'query Item($id: ID!) { item(id: $id) { version } }';
        const { data, extensions } = await ask(url, query, { id: 'i0' }, { 'x-explain': 'yes', ...headers });
        const { fetches } = (extensions as { explanation: { fetches: { cached: number; cacheAgeMs: number }[] } })
          .explanation;
        return {
          version: data.item.version as number,
          cached: fetches.every(({ cached }) => cached > 0),
          ageMs: fetches[0]?.cacheAgeMs,
        };
      };
      return { gateway, read };
    };
    const client = new Redis(redis.url);
    const quiet = new ControlledBus(bus);
    const [writer, reader] = [await start(bus), await start(quiet)];
    try {
      // The writer stores an entry in Redis, where its clock is changed to another one; the reader answers from it. (A reply
      // of Redis that is late on a busy machine counts as a miss: then the next change makes a new entry.)
      let version = 0;
      const readShifted = async (shiftMs: number) => {
        const changed = await ask(items.url, 'mutation Change($id: ID!) { change(id: $id) { version } }', { id: 'i0' });
        version = changed.data.change.version;
        await until(
          () => writer.read(),
          (answer) => answer.cached && answer.version === version,
        );
        await until(
          async () => (await client.keys('tributary:*')).filter((key) => !key.endsWith(':lease')),
          (keys) => keys.length > 0,
        );
        for (const key of await client.keys('tributary:*')) {
          const entry = JSON.parse((await client.get(key)) || '{}') as { storedAt?: number };
          if (entry.storedAt) await client.set(key, JSON.stringify({ ...entry, storedAt: entry.storedAt + shiftMs }));
        }
        return await until(
          () => reader.read({ 'x-max-staleness': '1s' }),
          (answer) => answer.version === version,
        );
      };
      for (const shiftMs of [3_600_000, -3_600_000]) {
        const read = await until(
          () => readShifted(shiftMs),
          ({ cached }) => cached,
        );
        expect(read.ageMs).toBeGreaterThanOrEqual(0);
      }
      // The reader receives no more invalidations: beyond the bound it fetches from the owner, whatever time the entry has.
      quiet.hold();
      const heldAt = performance.now();
      await ask(items.url, 'mutation Change($id: ID!) { change(id: $id) { version } }', { id: 'i0' });
      await until(
        async () => performance.now() - heldAt,
        (passedMs) => passedMs > 500,
      );
      expect(await reader.read({ 'x-max-staleness': '400ms' })).toMatchObject({ version: version + 1, cached: false });
    } finally {
      client.disconnect();
      for (const { gateway } of [writer, reader]) await gateway.close();
      await items.stop();
      await Promise.all([redis.kill(), database.close(), databases.drop()]);
    }
  },
);

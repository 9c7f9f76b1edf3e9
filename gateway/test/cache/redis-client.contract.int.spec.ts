import { systemTime } from '@tributary/server';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { InMemoryRedis } from '../../../test/harness/in-memory-redis.ts';
import { haveRedis, startRedis } from '../../../test/harness/redis.ts';
import { until } from '../../../test/harness/until.ts';
import { IoredisClient, type RedisClient } from '../../src/cache/index.js';

interface Server {
  client(prefix: string): RedisClient;
  down(): Promise<void>;
  up(): Promise<void>;
  stop(): Promise<void>;
}

const SERVERS: [name: string, start: () => Promise<Server>][] = [
  [
    'Redis in memory',
    async () => {
      const redis = new InMemoryRedis(systemTime);
      return {
        client: (prefix) => redis.client(prefix),
        down: async () => redis.down(),
        up: async () => redis.up(),
        stop: async () => undefined,
      };
    },
  ],
];
if (haveRedis()) {
  SERVERS.push([
    'a Redis server',
    async () => {
      const redis = await startRedis();
      return {
        client: (prefix) => new IoredisClient(redis.url, prefix),
        down: () => redis.kill(),
        up: () => redis.start(),
        stop: () => redis.kill(),
      };
    },
  ]);
}

describe.each(SERVERS)('%s', (_name, start) => {
  let server: Server;
  const clients: RedisClient[] = [];
  beforeAll(async () => {
    server = await start();
  });
  afterAll(async () => {
    for (const client of clients) client.close();
    await server.stop();
  });

  let count = 0;
  /** A connected client with a prefix of its own. */
  async function connect(prefix = `test-${++count}:`): Promise<RedisClient> {
    const client = server.client(prefix);
    clients.push(client);
    await until(
      async () => client.isConnected,
      (isConnected) => isConnected,
    );
    return client;
  }
  const set = (key: string, value: string, ttlMs = 60_000) => ({ kind: 'set', key, value, ttlMs }) as const;

  test('gives values in the order of the keys, null for those without one', async () => {
    const client = await connect();
    expect(await client.write([set('a', '1'), set('b', 'ü"\n')])).toEqual([true, true]);
    expect(await client.getMany(['b', 'none', 'a', 'b'])).toEqual(['ü"\n', null, '1', 'ü"\n']);
  });

  test('writes in order, and only if absent where the command requires it', async () => {
    const client = await connect();
    const lease = { ...set('lease', ''), ifAbsent: true };
    expect(await client.write([lease])).toEqual([true]);
    expect(await client.write([lease, set('entry', '1'), { kind: 'delete', keys: ['lease', 'none'] }, lease])).toEqual([
      false,
      true,
      true,
      true,
    ]);
    expect(await client.getMany(['entry', 'lease'])).toEqual(['1', '']);
  });

  test('forgets a key after its time to live', async () => {
    const client = await connect();
    await client.write([set('short', '1', 1000), set('long', '2')]);
    expect(await client.getMany(['short', 'long'])).toEqual(['1', '2']);
    const values = await until(
      () => client.getMany(['short', 'long']),
      ([short]) => short === null,
    );
    expect(values).toEqual([null, '2']);
  });

  test('raises a number, and never lowers it', async () => {
    const client = await connect();
    for (const value of [3, 10, 9]) await client.raise('position', value, 60_000);
    expect(await client.getMany(['position'])).toEqual(['10']);
  });

  test('scans the keys of its prefix that begin with a text, each at least once', async () => {
    const [client, other] = [await connect(), await connect()];
    const keys = Array.from({ length: 1200 }, (_, n) => `2:${n}`);
    await client.write([...keys.map((key) => set(key, '')), set('1:0', '')]);
    await other.write([set('2:other', '')]);
    const found = new Set<string>();
    let cursor = '0';
    do {
      const part = await client.scan(cursor, '2:');
      for (const key of part.keys) found.add(key);
      cursor = part.cursor;
    } while (cursor !== '0');
    expect([...found].sort()).toEqual(keys.sort());
  });

  test('deletes keys', async () => {
    const client = await connect();
    await client.write([set('a', '1'), set('b', '2')]);
    await client.delete(['a', 'none']);
    expect(await client.getMany(['a', 'b'])).toEqual([null, '2']);
  });

  test('clients with the same prefix share keys', async () => {
    const [client, other] = [await connect('shared:'), await connect('shared:')];
    await client.write([set('a', '1')]);
    expect(await other.getMany(['a'])).toEqual(['1']);
  });

  test('commands fail while the server is down, which is reported, and work again after it', async () => {
    const client = await connect();
    const causes: string[] = [];
    client.onFailure((cause) => causes.push(cause));
    await server.down();
    await until(
      async () => client.isConnected,
      (isConnected) => !isConnected,
    );
    expect(causes.length).toBeGreaterThan(0);
    await expect(client.getMany(['a'])).rejects.toThrow();
    expect(await client.write([set('a', '1'), set('b', '1')])).toEqual([expect.any(Error), expect.any(Error)]);
    await expect(client.scan('0', '')).rejects.toThrow();
    await server.up();
    await until(
      async () => client.isConnected,
      (isConnected) => isConnected,
    );
    expect(await client.write([set('a', '1')])).toEqual([true]);
  });
});

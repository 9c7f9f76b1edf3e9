import { pino } from 'pino';
import { Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { InMemoryRedis } from '../../../test/harness/in-memory-redis.ts';
import { ManualTime } from '../../../test/harness/manual-time.ts';
import { type CacheEntry, EntityCache, Erasures, InvalidationLog, TieredStore } from '../../src/cache/index.js';
import { NO_REQUIREMENTS } from '../../src/consistency/index.js';

/** A gateway's cache whose time passes only when a test advances it. */
function openCache(time: ManualTime, redis: InMemoryRedis) {
  const metrics = new Registry();
  const logger = pino({ level: 'silent' });
  const log = new InvalidationLog(metrics, logger, time);
  const store = new TieredStore({ maxBytes: 1_000_000, redis: redis.client(), logger, metrics, time });
  const erasures = new Erasures(store, log, time);
  log.observe(erasures);
  const cache = new EntityCache(store, log, metrics, time);
  const message = (from: number, to: number, entities: string[] = [], erased = false) => {
    const touched = entities.length === 0 ? [] : [{ position: to, entities, ...(erased && { erased: true as const }) }];
    log.onInvalidations('shop', { from, to, at: time.now(), touched });
  };
  return {
    message,
    async read(key: string, maxStalenessMs = Number.POSITIVE_INFINITY) {
      const reading = cache.lookUp('shop', [key], { ...NO_REQUIREMENTS, maxStalenessMs });
      await time.advance(0);
      await time.advance(50);
      const { found, settle } = await reading;
      settle(new Map());
      return found[0]?.text;
    },
    async fetch(key: string, entry: CacheEntry) {
      const reading = cache.lookUp('shop', [key], NO_REQUIREMENTS);
      await time.advance(0);
      await time.advance(50);
      (await reading).settle(new Map([[0, entry]]));
      await time.advance(0);
    },
  };
}

function entry(text: string, position: number, entity: string): CacheEntry {
  return { text, owner: 'shop', positions: [['shop', position]], entities: [], owned: [entity], storedAt: 0 };
}

test('cache, invalidations, Redis and erasures run in virtual time', async () => {
  const time = new ManualTime();
  const redis = new InMemoryRedis(time);
  const [one, other] = [openCache(time, redis), openCache(time, redis)];
  const both = (from: number, to: number, entities?: string[], erased?: boolean) => {
    for (const { message } of [one, other]) message(from, to, entities, erased);
  };
  both(1, 1);
  await one.fetch('a', entry('"first"', 1, 'Thing:1'));
  expect(await one.read('a')).toBe('"first"');
  expect(await other.read('a')).toBe('"first"');

  // An event invalidates the entry in both gateways, and in Redis.
  both(1, 2, ['Thing:1']);
  expect(await one.read('a')).toBeUndefined();
  expect(await other.read('a')).toBeUndefined();

  // Without messages, the cache serves an entry for 1.5 s; its age counts from the last message.
  await one.fetch('a', entry('"second"', 2, 'Thing:1'));
  both(2, 2);
  await time.advance(1000);
  expect(await one.read('a')).toBe('"second"');
  expect(await one.read('a', 900)).toBeUndefined();
  await time.advance(600);
  expect(await one.read('a')).toBeUndefined();
  both(2, 2);
  expect(await one.read('a')).toBe('"second"');

  // A slow Redis delays a request by 5 ms only; what is in memory is served.
  redis.latencyMs = 400;
  both(2, 2);
  expect(await one.read('a')).toBe('"second"');
  expect(await other.read('never')).toBeUndefined();
  redis.latencyMs = 0;
  await time.advance(2000);

  // An erasure deletes the entry from both memories and from Redis.
  both(2, 2);
  await one.fetch('b', entry('"personal"', 2, 'Person:1'));
  expect(await other.read('b')).toBe('"personal"');
  both(2, 3, ['Person:1'], true);
  await time.advance(2000);
  both(3, 3);
  const left = await redis.client().scan('0', '2:');
  const values = await redis.client().getMany(left.keys);
  expect(values.filter((value) => value?.includes('personal'))).toEqual([]);
  expect(await other.read('b')).toBeUndefined();
});

import { setImmediate } from 'node:timers/promises';
import type { Time } from '@tributary/server';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { CacheEntry } from './cache-entry.js';
import { MemoryStore } from './memory-store.js';
import type { RedisClient } from './redis-client.js';
import { RedisGuard } from './redis-guard.js';
import { RedisStore } from './redis-store.js';

export interface TieredStoreOptions {
  readonly maxBytes: number;
  /** Null: entries are in memory only. Closed with the store. */
  readonly redis: RedisClient | null;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly time: Time;
  /** Resolves when other work had its turn; by default, with the event loop's next turn. */
  readonly nextTurn?: () => Promise<void>;
}

/** The memory of this process (L1) in front of Redis (L2), which may be slow, down, or absent. */
export class TieredStore {
  readonly memory: MemoryStore;
  /** Null without Redis. */
  readonly redis: RedisStore | null;

  constructor({ maxBytes, redis, logger, metrics, time, nextTurn = setImmediate }: TieredStoreOptions) {
    const yieldTurn = () => nextTurn();
    this.memory = new MemoryStore(maxBytes, metrics, yieldTurn);
    this.redis = redis ? new RedisStore(new RedisGuard({ client: redis, logger, metrics, time }), yieldTurn) : null;
  }

  /** Stores entries in both tiers. @param fetched the keys that are not being fetched any more, stored or not */
  store(entries: readonly (readonly [key: string, entry: CacheEntry])[], fetched: readonly string[]): void {
    for (const [key, entry] of entries) this.memory.set(key, entry);
    this.redis?.store(entries, fetched);
  }

  close(): void {
    this.redis?.close();
  }
}

import { createHash } from 'node:crypto';
import { Redis } from 'ioredis';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { Counter, Gauge, type Registry } from 'prom-client';
import { z } from 'zod';
import type { Positions } from './streams.js';

/** Something that was read, as JSON, and what must not have changed for it to be what would be read now. */
export interface CacheEntry {
  readonly text: string;
  /** The service that said it. */
  readonly owner: string;
  /** The state of its own that it was read from, and of the copies that it was read from. */
  readonly positions: Positions;
  /** `Type:id`, or `*Type` where any of a type matters: what any service's events change it by. */
  readonly entities: readonly string[];
  /** What only its owner's events change it by. */
  readonly owned: readonly string[];
  /** Milliseconds since 1970, by the clock of the gateway that wrote it. For reports only: how old it may be is told by `positions`. */
  readonly storedAt: number;
}

export interface CacheStoreOptions {
  readonly maxBytes: number;
  readonly redisUrl: string | undefined;
  readonly logger: Logger;
  readonly metrics: Registry;
}

/** Redis has so long; what it has not said by then is fetched. */
const REDIS_PATIENCE_MS = 5;
const FAILURES_TO_REST = 3;
const REST_MS = 1000;
const REDIS_TTL_S = 600;
/** Longer than a fetch mostly takes; who died while he fetched holds the others up no longer. */
const LEASE_MS = 150;
const OVERHEAD_BYTES = 300;
/** Of what is in Redis; a gateway of another release that has another one does not see it. */
const ENTRY_FORMAT = 2;

/** A bounded cache in this process, in front of one in Redis that other gateways share; Redis may be slow, dead or not there at all. */
export class CacheStore {
  readonly #near: LRUCache<string, CacheEntry>;
  readonly #redis: Redis | null;
  readonly #redisFailures: Counter;
  #failures = 0;
  #restUntil = 0;

  constructor({ maxBytes, redisUrl, logger, metrics }: CacheStoreOptions) {
    this.#near = new LRUCache({
      maxSize: Math.max(1, maxBytes),
      sizeCalculation: ({ text }, key) => 2 * (text.length + key.length) + OVERHEAD_BYTES,
    });
    this.#redisFailures = new Counter({
      name: 'gateway_cache_redis_failures_total',
      help: 'Times that Redis did not answer in time',
      registers: [metrics],
    });
    const near = this.#near;
    new Gauge({
      name: 'gateway_cache_bytes',
      help: 'What the cache of this process holds',
      registers: [metrics],
      aggregator: 'sum',
      collect() {
        this.set(near.calculatedSize);
      },
    });
    this.#redis = redisUrl ? connect(redisUrl, logger) : null;
  }

  /** What is kept in this process. */
  near(key: string): CacheEntry | undefined {
    return this.#near.get(key);
  }

  /** What Redis has, in the order of the keys, in one round trip; null when it is not asked. */
  far(keys: readonly string[]): Promise<(CacheEntry | undefined)[]> | null {
    const redis = this.#available();
    if (!redis || keys.length === 0) return null;
    return this.#timed(redis.mget(keys.map(farKey))).then(
      (values) =>
        values?.map((value, i) => {
          const entry = value === null ? undefined : readEntry(value);
          if (entry) this.#near.set(keys[i] as string, entry);
          return entry;
        }) ?? keys.map(() => undefined),
    );
  }

  /**
   * Announces that these are being fetched here. @returns for each whether nobody else had announced it; null when Redis is not asked
   */
  lease(keys: readonly string[]): Promise<boolean[]> | null {
    const redis = this.#available();
    if (!redis || keys.length === 0) return null;
    const pipeline = redis.pipeline();
    for (const key of keys) pipeline.set(`${farKey(key)}:lease`, '', 'PX', LEASE_MS, 'NX');
    return this.#timed(pipeline.exec()).then((results) => keys.map((_key, i) => !results || results[i]?.[1] !== null));
  }

  /** @param fetched what is not being fetched any more, kept or not */
  store(entries: readonly (readonly [key: string, entry: CacheEntry])[], fetched: readonly string[]): void {
    for (const [key, entry] of entries) this.#near.set(key, entry);
    const redis = this.#available();
    if (!redis || fetched.length === 0) return;
    const pipeline = redis.pipeline().del(fetched.map((key) => `${farKey(key)}:lease`));
    for (const [key, entry] of entries) pipeline.set(farKey(key), JSON.stringify(entry), 'EX', REDIS_TTL_S);
    // Nobody waits for it.
    void this.#timed(pipeline.exec());
  }

  async close(): Promise<void> {
    this.#redis?.disconnect();
  }

  #available(): Redis | null {
    const redis = this.#redis;
    return redis?.status === 'ready' && performance.now() >= this.#restUntil ? redis : null;
  }

  /** Null when it takes too long, or fails. */
  async #timed<T>(command: Promise<T>): Promise<T | null> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<null>((resolve) => {
      timer = setTimeout(() => resolve(null), REDIS_PATIENCE_MS);
    });
    const result = await Promise.race([command.catch(() => null), late]);
    clearTimeout(timer);
    if (result === null) this.#failed();
    else this.#failures = 0;
    return result;
  }

  #failed(): void {
    this.#redisFailures.inc();
    this.#failures += 1;
    if (this.#failures < FAILURES_TO_REST) return;
    this.#restUntil = performance.now() + REST_MS;
    this.#failures = 0;
  }
}

function connect(url: string, logger: Logger): Redis {
  const redis = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: 1000,
    commandTimeout: 1000,
    retryStrategy: (attempt) => Math.min(attempt * 100, 1000),
  });
  let told = false;
  redis.on('error', (error) => {
    if (!told) logger.warn({ problem: error.message }, 'Redis cannot be reached; the gateway goes on without it');
    told = true;
  });
  redis.on('ready', () => {
    if (told) logger.info('Redis can be reached again');
    told = false;
  });
  return redis;
}

function farKey(key: string): string {
  return `tributary:${ENTRY_FORMAT}:${createHash('sha256').update(key).digest('base64url')}`;
}

/** Whatever else may be in Redis is no entry. */
const entrySchema = z.object({
  text: z.string().refine(isJson),
  owner: z.string(),
  positions: z.array(z.tuple([z.string(), z.number()])),
  entities: z.array(z.string()),
  owned: z.array(z.string()),
  storedAt: z.number(),
});

function readEntry(text: string): CacheEntry | undefined {
  try {
    return entrySchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { LRUCache } from 'lru-cache';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { z } from 'zod';
import { CacheRedis } from './cache-redis.js';
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
  /** Of all keys in Redis; gateways that have the same one share what is there. */
  readonly redisPrefix: string;
  readonly logger: Logger;
  readonly metrics: Registry;
}

const REDIS_TTL_S = 600;
/** Longer than a fetch mostly takes; who died while he fetched holds the others up no longer. */
const LEASE_MS = 150;
const OVERHEAD_BYTES = 300;
/** Of what is in Redis; a gateway of another release that has another one does not see it. */
const ENTRY_FORMAT = 2;
const KEY_PREFIX = `${ENTRY_FORMAT}:`;
/** How many keys Redis goes through, and how many entries are read, at a time: requests wait for no more than that. */
const SCAN_COUNT = 500;
const READ_COUNT = 10;
/** A longer entry stays in the memory of the gateway that fetched it: Redis and the gateways would be busy with it for too long. */
const MAX_FAR_LENGTH = 256 * 1024;
/** How many entries in memory are looked at before other work has its turn. */
const NEAR_COUNT = 5000;
/** Sets a number unless there is a larger one. */
const RAISE = `if tonumber(ARGV[1]) >= tonumber(redis.call('get', KEYS[1]) or '-1') then
  redis.call('set', KEYS[1], ARGV[1], 'EX', ARGV[2]) end return 1`;

/** A bounded cache in this process, in front of one in Redis that other gateways share; Redis may be slow, dead or not there at all. */
export class CacheStore {
  readonly #near: LRUCache<string, CacheEntry>;
  readonly #redis: CacheRedis | null;

  constructor({ maxBytes, redisUrl, redisPrefix, logger, metrics }: CacheStoreOptions) {
    this.#near = new LRUCache({
      maxSize: Math.max(1, maxBytes),
      sizeCalculation: ({ text }, key) => 2 * (text.length + key.length) + OVERHEAD_BYTES,
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
    this.#redis = redisUrl ? new CacheRedis(redisUrl, redisPrefix, logger, metrics) : null;
  }

  /** What is kept in this process. */
  near(key: string): CacheEntry | undefined {
    return this.#near.get(key);
  }

  /** Keeps what Redis had in this process, too. */
  keepNear(key: string, entry: CacheEntry): void {
    this.#near.set(key, entry);
  }

  /** What Redis has, in the order of the keys, in one round trip; null when it is not asked. */
  far(keys: readonly string[]): Promise<(CacheEntry | undefined)[]> | null {
    const redis = this.#redis?.forRequests;
    if (!this.#redis || !redis || keys.length === 0) return null;
    return this.#redis
      .timed(redis.mget(keys.map(farKey)))
      .then((values) => keys.map((_key, i) => readEntry(values?.[i] ?? null)));
  }

  /**
   * Announces that these are being fetched here. @returns for each whether nobody else had announced it; null when Redis is not asked
   */
  lease(keys: readonly string[]): Promise<boolean[]> | null {
    const redis = this.#redis?.forRequests;
    if (!this.#redis || !redis || keys.length === 0) return null;
    const pipeline = redis.pipeline();
    for (const key of keys) pipeline.set(`${farKey(key)}:lease`, '', 'PX', LEASE_MS, 'NX');
    return this.#redis.timedAll(pipeline.exec()).then((results) => keys.map((_key, i) => results?.[i] !== null));
  }

  /** @param fetched what is not being fetched any more, kept or not */
  store(entries: readonly (readonly [key: string, entry: CacheEntry])[], fetched: readonly string[]): void {
    for (const [key, entry] of entries) this.#near.set(key, entry);
    const redis = this.#redis?.forRequests;
    if (!redis || fetched.length === 0) return;
    const pipeline = redis.pipeline().del(fetched.map((key) => `${farKey(key)}:lease`));
    for (const [key, entry] of entries) {
      const text = JSON.stringify(entry);
      if (text.length <= MAX_FAR_LENGTH) pipeline.set(farKey(key), text, 'EX', REDIS_TTL_S);
    }
    // Nobody waits for it. It is on its way to Redis before this method returns: a scan that begins later finds what it wrote.
    void this.#redis?.timedAll(pipeline.exec());
  }

  /** Whether there is a Redis. */
  get hasFar(): boolean {
    return this.#redis !== null;
  }

  get isFarConnected(): boolean {
    return this.#redis?.connected != null;
  }

  /** Why Redis is of no use now; null when it is, or when there is none. */
  get farProblem(): string | null {
    return this.#redis?.problem ?? null;
  }

  /** Work in the background did not succeed. */
  farFailed(cause: string): void {
    this.#redis?.failed(cause);
  }

  /** Deletes entries in this process; others are read and kept meanwhile. */
  async deleteNear(isDoomed: (entry: CacheEntry) => boolean): Promise<void> {
    const keys = [...this.#near.keys()];
    for (let i = 0; i < keys.length; i++) {
      if (i % NEAR_COUNT === NEAR_COUNT - 1) await nextTurn();
      const entry = this.#near.peek(keys[i] as string);
      if (entry && isDoomed(entry)) this.#near.delete(keys[i] as string);
    }
  }

  /**
   * Deletes entries in Redis, and what is in their place and cannot be read, a part at a time: it takes as long as Redis has keys.
   *
   * @param isOver whether it should be given up
   * @throws when Redis cannot be reached, or fails
   */
  async deleteFar(isDoomed: (entry: CacheEntry) => boolean, isOver: () => boolean): Promise<void> {
    if (!this.#redis) return;
    const { prefix } = this.#redis;
    let cursor = '0';
    do {
      const redis = this.#redis.connected;
      if (!redis) throw new Error('it cannot be reached');
      const [next, keys] = await redis.scan(cursor, 'MATCH', `${prefix}${KEY_PREFIX}*`, 'COUNT', SCAN_COUNT);
      cursor = next;
      const entryKeys = keys.filter((key) => !key.endsWith(':lease')).map((key) => key.slice(prefix.length));
      for (let i = 0; i < entryKeys.length; i += READ_COUNT) {
        const part = entryKeys.slice(i, i + READ_COUNT);
        const values = await redis.mget(part);
        const doomed = part.filter((_key, n) => isDoomedText(values[n] ?? null, isDoomed));
        if (doomed.length > 0) await redis.unlink(doomed);
        await nextTurn();
      }
    } while (cursor !== '0' && !isOver());
  }

  /** Up to which position of a source gateways have carried out erasures in Redis; -1 when that is not known. @throws when Redis fails */
  async erasedUpTo(source: string): Promise<number> {
    const position = await this.#redis?.connected?.get(erasedKey(source));
    return position == null ? -1 : Number(position);
  }

  /** @throws when Redis fails */
  async noteErasedUpTo(source: string, position: number): Promise<void> {
    await this.#redis?.connected?.eval(RAISE, 1, erasedKey(source), position, REDIS_TTL_S);
  }

  async close(): Promise<void> {
    this.#redis?.close();
  }
}

function erasedKey(source: string): string {
  return `erased:${ENTRY_FORMAT}:${source}`;
}

function farKey(key: string): string {
  return `${KEY_PREFIX}${createHash('sha256').update(key).digest('base64url')}`;
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

function readEntry(text: string | null): CacheEntry | undefined {
  if (text === null) return undefined;
  try {
    return entrySchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

/** What cannot be read is doomed. Nothing of it is checked: it is read for this question only. */
function isDoomedText(text: string | null, isDoomed: (entry: CacheEntry) => boolean): boolean {
  try {
    return isDoomed(JSON.parse(text ?? ''));
  } catch {
    return true;
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

import { createHash } from 'node:crypto';
import { type CacheEntry, readEntry } from './cache-entry.js';
import type { RedisWrite } from './redis-client.js';
import type { RedisGuard } from './redis-guard.js';

const TTL_MS = 600_000;
/** A little longer than a typical fetch, so that the lease of a crashed gateway expires soon. */
const LEASE_MS = 150;
/** Part of all keys: a gateway of another release with another format does not see these entries. */
const ENTRY_FORMAT = 2;
const KEY_START = `${ENTRY_FORMAT}:`;
const LEASE_END = ':lease';
/** Entries that are read at a time while entries are deleted: requests wait for no more than that. */
const READ_COUNT = 10;
/** A longer entry stays in the memory of the gateway that fetched it: sharing it would keep Redis and gateways busy for too long. */
const MAX_LENGTH = 256 * 1024;

/** L2: a cache in Redis that gateways share. */
export class RedisStore {
  readonly #redis: RedisGuard;
  readonly #nextTurn: () => Promise<void>;

  /** @param nextTurn resolves when other work had its turn */
  constructor(redis: RedisGuard, nextTurn: () => Promise<void>) {
    this.#redis = redis;
    this.#nextTurn = nextTurn;
  }

  /** Entries in the order of the keys, in one round trip; null when requests should skip Redis. */
  get(keys: readonly string[]): Promise<(CacheEntry | undefined)[]> | null {
    const client = this.#redis.forRequests;
    if (!client || keys.length === 0) return null;
    return this.#redis
      .timed(client.getMany(keys.map(redisKey)))
      .then((values) => keys.map((_key, i) => readEntry(values?.[i] ?? null)));
  }

  /**
   * Announces that this gateway fetches these keys.
   *
   * @returns for each key whether no other gateway had announced it; null when requests should skip Redis
   */
  lease(keys: readonly string[]): Promise<boolean[]> | null {
    const client = this.#redis.forRequests;
    if (!client || keys.length === 0) return null;
    const writes = keys.map((key): RedisWrite => {
      return { kind: 'set', key: leaseKey(key), value: '', ttlMs: LEASE_MS, ifAbsent: true };
    });
    return this.#redis.timedWrites(client, writes).then((results) => keys.map((_key, i) => results?.[i] !== false));
  }

  /** Stores entries and releases leases. It is sent to Redis before this returns: a scan that begins later finds what it wrote. */
  store(entries: readonly (readonly [key: string, entry: CacheEntry])[], fetched: readonly string[]): void {
    const client = this.#redis.forRequests;
    if (!client || fetched.length === 0) return;
    const writes: RedisWrite[] = [{ kind: 'delete', keys: fetched.map(leaseKey) }];
    for (const [key, entry] of entries) {
      const value = JSON.stringify(entry);
      if (value.length <= MAX_LENGTH) writes.push({ kind: 'set', key: redisKey(key), value, ttlMs: TTL_MS });
    }
    void this.#redis.timedWrites(client, writes);
  }

  get isConnected(): boolean {
    return this.#redis.connected !== null;
  }

  /** Why Redis cannot be used now; null when it can. */
  get problem(): string | null {
    return this.#redis.problem;
  }

  /** Reports that work in the background did not succeed. */
  failed(cause: string): void {
    this.#redis.failed(cause);
  }

  /**
   * Deletes the entries that match, and malformed ones, part by part: the time grows with the number of keys.
   *
   * @param isCancelled whether it should be given up
   * @throws when Redis cannot be reached, or fails
   */
  async deleteWhere(matches: (entry: CacheEntry) => boolean, isCancelled: () => boolean): Promise<void> {
    let cursor = '0';
    do {
      const part = await this.#connected.scan(cursor, KEY_START);
      cursor = part.cursor;
      const entryKeys = part.keys.filter((key) => !key.endsWith(LEASE_END));
      for (let i = 0; i < entryKeys.length; i += READ_COUNT) {
        const keys = entryKeys.slice(i, i + READ_COUNT);
        const values = await this.#connected.getMany(keys);
        const doomed = keys.filter((_key, n) => textMatches(values[n] ?? null, matches));
        if (doomed.length > 0) await this.#connected.delete(doomed);
        await this.#nextTurn();
      }
    } while (cursor !== '0' && !isCancelled());
  }

  /** The position of a source up to which gateways have carried out erasures in Redis; -1 when it is unknown. @throws when Redis fails */
  async erasedUpTo(source: string): Promise<number> {
    const [position] = (await this.#redis.connected?.getMany([erasedKey(source)])) ?? [];
    return position == null ? -1 : Number(position);
  }

  /** @throws when Redis fails */
  async noteErasedUpTo(source: string, position: number): Promise<void> {
    await this.#redis.connected?.raise(erasedKey(source), position, TTL_MS);
  }

  close(): void {
    this.#redis.close();
  }

  get #connected() {
    const client = this.#redis.connected;
    if (!client) throw new Error('it cannot be reached');
    return client;
  }
}

function erasedKey(source: string): string {
  return `erased:${ENTRY_FORMAT}:${source}`;
}

function redisKey(key: string): string {
  return `${KEY_START}${createHash('sha256').update(key).digest('base64url')}`;
}

function leaseKey(key: string): string {
  return `${redisKey(key)}${LEASE_END}`;
}

/** Whether an entry matches, or is malformed. Its parts are not validated: it is read for this question only. */
function textMatches(text: string | null, matches: (entry: CacheEntry) => boolean): boolean {
  try {
    return matches(JSON.parse(text ?? ''));
  } catch {
    return true;
  }
}

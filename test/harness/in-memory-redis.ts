import type { Time } from '@tributary/server';
import type { RedisClient, RedisWrite, RedisWriteResult } from '../../gateway/src/cache/index.js';

const SCAN_COUNT = 100;

interface Value {
  readonly text: string;
  readonly expiresAt: number;
}

/** A Redis in memory, shared by the clients that it creates. Expiry and response times follow the given time. */
export class InMemoryRedis {
  readonly #time: Time;
  readonly #values = new Map<string, Value>();
  readonly #listeners = new Set<(cause: string) => void>();
  #connected = true;
  /** How long each response takes. */
  latencyMs = 0;

  constructor(time: Time) {
    this.#time = time;
  }

  /** Ends all connections; commands fail until `up`. */
  down(): void {
    this.#connected = false;
    for (const listener of this.#listeners) listener('the connection ended');
  }

  up(): void {
    this.#connected = true;
  }

  /** @param prefix of all keys of this client */
  client(prefix = ''): RedisClient {
    const redis = this;
    const mine = new Set<(cause: string) => void>();
    return {
      get isConnected() {
        return redis.#connected;
      },
      getMany: (keys) => redis.#respond(keys.map((key) => redis.#get(prefix + key))),
      write: (writes) =>
        redis
          .#respond(writes.map((write) => redis.#write(prefix, write)))
          .catch((error: Error) => writes.map(() => error)),
      async raise(key, value, ttlMs) {
        const present = Number(redis.#get(prefix + key) ?? -1);
        if (value >= present) redis.#set(prefix + key, String(value), ttlMs);
        await redis.#respond(undefined);
      },
      scan(cursor, start) {
        const all = [...redis.#values.keys()].filter((key) => redis.#get(key) !== null).sort();
        const from = cursor === '0' ? 0 : all.findIndex((key) => key > cursor);
        const part = from < 0 ? [] : all.slice(from, from + SCAN_COUNT);
        const last = part.at(-1);
        const isOver = last === undefined || from + SCAN_COUNT >= all.length;
        const keys = part.filter((key) => key.startsWith(prefix + start)).map((key) => key.slice(prefix.length));
        return redis.#respond({ cursor: isOver ? '0' : last, keys });
      },
      async delete(keys) {
        for (const key of keys) redis.#values.delete(prefix + key);
        await redis.#respond(undefined);
      },
      onFailure(callback) {
        mine.add(callback);
        redis.#listeners.add(callback);
      },
      close() {
        for (const callback of mine) redis.#listeners.delete(callback);
      },
    };
  }

  /** A command takes effect when it is sent; its response comes later. */
  async #respond<T>(response: T): Promise<T> {
    if (!this.#connected) throw new Error('Connection is closed.');
    if (this.latencyMs > 0) await this.#time.sleep(this.latencyMs);
    return response;
  }

  #get(key: string): string | null {
    const value = this.#values.get(key);
    if (!value || !this.#connected) return null;
    if (value.expiresAt > this.#time.monotonic()) return value.text;
    this.#values.delete(key);
    return null;
  }

  #set(key: string, text: string, ttlMs: number): void {
    if (this.#connected) this.#values.set(key, { text, expiresAt: this.#time.monotonic() + ttlMs });
  }

  #write(prefix: string, write: RedisWrite): RedisWriteResult {
    if (!this.#connected) return false;
    if (write.kind === 'delete') {
      for (const key of write.keys) this.#values.delete(prefix + key);
      return true;
    }
    if (write.ifAbsent && this.#get(prefix + write.key) !== null) return false;
    this.#set(prefix + write.key, write.value, write.ttlMs);
    return true;
  }
}

import { Redis } from 'ioredis';
import type { RedisClient, RedisWrite, RedisWriteResult } from './redis-client.js';

/** Time limit of connecting and of a command. */
const TIMEOUT_MS = 1000;
/** Keys that Redis visits in one part of a scan. */
const SCAN_COUNT = 500;
/** Sets a number unless there is a larger one. */
const RAISE = `if tonumber(ARGV[1]) >= tonumber(redis.call('get', KEYS[1]) or '-1') then
  redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) end return 1`;

/** A Redis server, through ioredis. Reconnects by itself. */
export class IoredisClient implements RedisClient {
  readonly #redis: Redis;
  readonly #prefix: string;

  /** @param prefix of all keys: it separates environments that share a database */
  constructor(url: string, prefix: string) {
    this.#prefix = prefix;
    this.#redis = new Redis(url, {
      keyPrefix: prefix,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      connectTimeout: TIMEOUT_MS,
      commandTimeout: TIMEOUT_MS,
      retryStrategy: (attempt) => Math.min(attempt * 100, 1000),
    });
  }

  get isConnected(): boolean {
    return this.#redis.status === 'ready';
  }

  getMany(keys: readonly string[]): Promise<(string | null)[]> {
    return this.#redis.mget([...keys]).catch(rethrow);
  }

  async write(writes: readonly RedisWrite[]): Promise<RedisWriteResult[]> {
    const pipeline = this.#redis.pipeline();
    for (const write of writes) {
      if (write.kind === 'delete') pipeline.del([...write.keys]);
      else if (write.ifAbsent) pipeline.set(write.key, write.value, 'PX', write.ttlMs, 'NX');
      else pipeline.set(write.key, write.value, 'PX', write.ttlMs);
    }
    const results = await pipeline.exec().catch(rethrow);
    return (results ?? []).map(([error, result]) => (error ? named(error) : result !== null));
  }

  async raise(key: string, value: number, ttlMs: number): Promise<void> {
    await this.#redis.eval(RAISE, 1, key, value, ttlMs).catch(rethrow);
  }

  async scan(cursor: string, start: string): Promise<{ cursor: string; keys: string[] }> {
    const pattern = `${this.#prefix}${start}*`;
    const [next, keys] = await this.#redis.scan(cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT).catch(rethrow);
    return { cursor: next, keys: keys.map((key) => key.slice(this.#prefix.length)) };
  }

  async delete(keys: readonly string[]): Promise<void> {
    await this.#redis.unlink([...keys]).catch(rethrow);
  }

  onFailure(callback: (cause: string) => void): void {
    this.#redis.on('error', (error) => callback(`it cannot be reached: ${error.message}`));
    this.#redis.on('close', () => callback('the connection ended'));
  }

  close(): void {
    this.#redis.disconnect();
  }
}

function rethrow(error: Error): never {
  throw named(error);
}

function named(error: Error): Error {
  // The message of ioredis, which does not say what timed out.
  return error.message === 'Command timed out' ? new Error(`it did not answer within ${TIMEOUT_MS} ms`) : error;
}

/** One write of a batch. */
export type RedisWrite =
  | {
      readonly kind: 'set';
      readonly key: string;
      readonly value: string;
      readonly ttlMs: number;
      /** Write only if the key does not exist. */
      readonly ifAbsent?: boolean;
    }
  | { readonly kind: 'delete'; readonly keys: readonly string[] };

/** The outcome of one write: `false` for `ifAbsent` when the key existed, an error when Redis refused it or cannot be reached. */
export type RedisWriteResult = boolean | Error;

/**
 * The port to Redis: what the cache uses of it. Keys have no prefix here; a client adds that of its environment. Every command but `write`
 * rejects when Redis cannot be reached, or does not respond within a time limit of the client.
 */
export interface RedisClient {
  /** Whether commands can be sent now. */
  readonly isConnected: boolean;
  /** Values in the order of the keys; null for keys without one. */
  getMany(keys: readonly string[]): Promise<(string | null)[]>;
  /** Sends writes in one round trip, before it returns. Resolves to their outcomes, in order; never rejects. */
  write(writes: readonly RedisWrite[]): Promise<RedisWriteResult[]>;
  /** Sets a number unless the key has a larger one, atomically; either way the key lives for `ttlMs` from now only if it was set. */
  raise(key: string, value: number, ttlMs: number): Promise<void>;
  /**
   * Lists a part of the keys that begin with a text. Keys that exist throughout a whole scan are listed at least once.
   *
   * @param cursor `0` to begin, then the cursor of the part before
   * @returns the next cursor; `0` after the last part
   */
  scan(cursor: string, start: string): Promise<{ readonly cursor: string; readonly keys: readonly string[] }>;
  delete(keys: readonly string[]): Promise<void>;
  /** Calls back with the cause when a connection fails or ends. */
  onFailure(callback: (cause: string) => void): void;
  close(): void;
}

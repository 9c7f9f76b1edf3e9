import { randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { Redis } from 'ioredis';

/** Stores one text beyond the life of the process, in a file or in Redis. */
export interface TextStorage {
  /** Null when nothing is stored. Takes at most two seconds. @throws when the storage cannot be read, TextTooLongError */
  read(): Promise<string | null>;
  /** Replaces the text, atomically. */
  write(text: string): Promise<void>;
  /** Milliseconds after which the text is written again, because the storage may have lost it. */
  readonly rewriteMs: number;
  close(): void;
}

/** The Redis that texts may be stored in. */
export interface RedisLocation {
  readonly url: string | undefined;
  /** Prefix of all keys. */
  readonly prefix: string;
}

export interface TextStorageOptions {
  /** The path of a file, or `redis`. */
  readonly place: string;
  readonly redis: RedisLocation;
  /** The key in Redis. */
  readonly key: string;
  /** A longer text is not read, in bytes. */
  readonly maxBytes: number;
}

/** What is stored is longer than the bound. */
export class TextTooLongError extends Error {}

const REDIS_TIMEOUT_MS = 1000;
/** Redis may lose the text in a restart, or to free memory. */
const REDIS_REWRITE_MS = 60_000;
/** Redis drops a text that no gateway has written for 30 days. */
const REDIS_TTL_S = 30 * 24 * 3600;

export function openTextStorage(options: TextStorageOptions): TextStorage {
  return options.place === 'redis' ? inRedis(options) : inFile(options);
}

function inFile({ place: path, maxBytes }: TextStorageOptions): TextStorage {
  return {
    rewriteMs: Number.POSITIVE_INFINITY,
    read: () => readBounded(path, maxBytes),
    async write(text) {
      // Several processes may write it at once, also with one process id, in containers.
      const draft = `${path}.${randomUUID()}.tmp`;
      try {
        const file = await open(draft, 'w', 0o600);
        try {
          await file.writeFile(text);
          await file.sync();
        } finally {
          await file.close();
        }
        await rename(draft, path);
      } catch (error) {
        await rm(draft, { force: true });
        throw error;
      }
    },
    close: () => undefined,
  };
}

async function readBounded(path: string, maxBytes: number): Promise<string | null> {
  try {
    // Without blocking: a pipe without a writer would be waited for.
    const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stats = await file.stat();
      if (!stats.isFile()) throw new Error(`${path} is no file`);
      if (stats.size > maxBytes) throw tooLong(maxBytes);
      return await file.readFile('utf8');
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

function inRedis({ redis: { url, prefix }, key, maxBytes }: TextStorageOptions): TextStorage {
  const redis = new Redis(url as string, {
    keyPrefix: prefix,
    maxRetriesPerRequest: 1,
    connectTimeout: REDIS_TIMEOUT_MS,
    commandTimeout: REDIS_TIMEOUT_MS,
    retryStrategy: (attempt) => Math.min(attempt * 100, 1000),
  });
  // Each command says what is wrong.
  redis.on('error', () => undefined);
  return {
    rewriteMs: REDIS_REWRITE_MS,
    async read() {
      // One byte more than may be; empty when nothing is stored.
      const text = await redis.getrange(key, 0, maxBytes);
      if (Buffer.byteLength(text) > maxBytes) throw tooLong(maxBytes);
      return text === '' ? null : text;
    },
    async write(text) {
      await redis.set(key, text, 'EX', REDIS_TTL_S);
    },
    close: () => redis.disconnect(),
  };
}

function tooLong(maxBytes: number): TextTooLongError {
  return new TextTooLongError(`It is longer than ${maxBytes} bytes.`);
}

import { causeOf, Fault, systemTime, type Time } from '@tributary/server';
import type { Logger } from 'pino';
import { z } from 'zod';
import { openTextStorage, type RedisLocation, type TextStorage, TextTooLongError } from '../lib/text-storage.js';
import type { UsedOperation, UsedOperations } from './used-operations.js';

/** The longest text that is written and read, in bytes. */
const MAX_BYTES = 8 * 1024 * 1024;

const storedSchema = z.object({
  format: z.literal(1),
  operations: z.array(
    z.object({
      query: z.string(),
      conditions: z.string().regex(/^[01-]*$/),
      overrides: z.record(z.string(), z.boolean()),
      authoritative: z.boolean(),
      score: z.number().nonnegative(),
    }),
  ),
});

/**
 * Stores the most used operations in a file or in Redis, so that a gateway that starts plans them before it serves. Of several gateways
 * with one place, the list that was written last is stored. Values of arguments and variables are not stored.
 */
export class OperationsStore {
  readonly #storage: TextStorage;
  readonly #logger: Logger;
  readonly #time: Time;
  readonly #fault: Fault;
  #hasLoaded = false;
  #loading: Promise<void> | null = null;
  #savedVersion = 0;
  #savedAt = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  /** @param place the path of a file, or `redis` */
  constructor(place: string, redis: RedisLocation, logger: Logger, time: Time = systemTime) {
    this.#storage = openTextStorage({ place, redis, key: 'operations:1', maxBytes: MAX_BYTES });
    this.#logger = logger;
    this.#time = time;
    this.#fault = new Fault({
      logger,
      began: 'the most used operations cannot be stored: after a restart they are planned when they are requested',
      ended: 'the most used operations are stored again',
    });
  }

  /** Adds the stored operations to the list, once. Never throws; takes at most two seconds. */
  load(list: UsedOperations): Promise<void> {
    this.#loading ??= this.#load(list).finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  /** Stores the list, unless it is stored already. Never throws. */
  async save(list: UsedOperations): Promise<void> {
    // What could not be read at the start is not overwritten, but added now.
    await this.load(list);
    const now = this.#time.monotonic();
    const isSaved = list.version === this.#savedVersion && now - this.#savedAt < this.#storage.rewriteMs;
    if (!this.#hasLoaded || isSaved || list.entries.length === 0) return;
    const { version } = list;
    try {
      await this.#storage.write(textOf(list.entries));
      this.#savedVersion = version;
      this.#savedAt = now;
      this.#fault.worked();
    } catch (error) {
      if (!this.#isClosed) this.#fault.failed(error);
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#fault.stop();
    this.#storage.close();
  }

  async #load(list: UsedOperations): Promise<void> {
    if (this.#hasLoaded) return;
    try {
      const text = await this.#storage.read();
      this.#hasLoaded = true;
      this.#fault.worked();
      if (text !== null) list.add(this.#parse(text));
    } catch (error) {
      if (error instanceof TextTooLongError) {
        this.#hasLoaded = true;
        this.#ignore(error);
      } else if (!this.#isClosed) this.#fault.failed(error);
    }
  }

  #parse(text: string): UsedOperation[] {
    try {
      return storedSchema.parse(JSON.parse(text)).operations.map(({ query, score, ...variant }) => ({
        hash: null,
        source: { query, operationName: undefined },
        variant,
        score,
        storable: query,
      }));
    } catch (error) {
      this.#ignore(error);
      return [];
    }
  }

  #ignore(error: unknown): void {
    this.#logger.warn(
      { cause: causeOf(error) },
      'the stored operations are damaged or of another format; they are ignored',
    );
  }
}

function textOf(entries: readonly UsedOperation[]): string {
  const operations: string[] = [];
  let bytes = 100;
  for (const { storable, variant, score } of entries) {
    if (typeof storable !== 'string') continue;
    const { conditions, overrides, authoritative } = variant;
    const text = JSON.stringify({ query: storable, conditions, overrides, authoritative, score });
    bytes += Buffer.byteLength(text) + 1;
    if (bytes > MAX_BYTES) break;
    operations.push(text);
  }
  return `{"format":1,"operations":[${operations.join()}]}`;
}

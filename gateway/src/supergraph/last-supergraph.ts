import { createHash, randomUUID } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { causeOf, Fault } from '@tributary/server';
import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { z } from 'zod';
import type { GatewayConfig } from '../config.js';
import type { Subgraph } from '../subgraph/subgraph-client.js';
import { composeSchemas, type Schemas } from './compose-schemas.js';

/** What a supergraph was composed from. */
export interface KeptSupergraph {
  /** ISO 8601, UTC. */
  readonly composedAt: string;
  readonly schemas: Schemas;
}

/** Keeps one text beyond the life of the process. */
interface Keeper {
  /** Null when nothing is kept. @throws when that cannot be said */
  read(): Promise<string | null>;
  /** Puts it in the place of what was kept, all or nothing. */
  write(text: string): Promise<void>;
  /** After so many milliseconds it is to be written again, as it may have been lost. */
  readonly lastsMs: number;
  close(): void;
}

type RedisPlace = Pick<GatewayConfig, 'REDIS_URL' | 'REDIS_PREFIX'>;

const REDIS_TIMEOUT_MS = 1000;
/** Redis may have lost it: it was restarted, or needed the memory. */
const REDIS_LASTS_MS = 60_000;
/** What no gateway serves any more is gone from Redis after 30 days. */
const REDIS_TTL_S = 30 * 24 * 3600;
const RETRY_MS = 5000;

const keptSchema = z.object({
  format: z.literal(1),
  composedAt: z.iso.datetime(),
  subgraphs: z.array(z.object({ name: z.string(), url: z.string(), schema: z.string() })),
});

/**
 * The schemas of the supergraph that was served last, in a file or in Redis, so that a gateway that restarts while a subgraph is down
 * serves it. They belong to one set of subgraphs (names and URLs); those of another one, and whatever is damaged, are ignored.
 */
export class LastSupergraph {
  readonly #subgraphs: readonly Subgraph[];
  readonly #keeper: Keeper;
  readonly #logger: Logger;
  readonly #fault: Fault;
  #written: KeptSupergraph | null = null;
  #writtenAt = Number.NEGATIVE_INFINITY;
  #triedAt = Number.NEGATIVE_INFINITY;
  #read: KeptSupergraph | null | undefined;
  #writing = false;
  #closed = false;

  /** @param place the path of a file, or `redis` @param subgraphs with URLs that hold no credentials */
  constructor(place: string, redis: RedisPlace, subgraphs: readonly Subgraph[], logger: Logger) {
    this.#subgraphs = subgraphs;
    this.#keeper = place === 'redis' ? inRedis(redis, subgraphs) : inFile(place);
    this.#logger = logger;
    this.#fault = new Fault({
      logger,
      began: 'the last supergraph cannot be kept: after a restart during an outage there would be none to serve',
      ended: 'the last supergraph is kept again',
    });
  }

  /** Null when none is kept for these subgraphs, or when it cannot be read now. Never throws; takes at most a second or two. */
  async read(): Promise<KeptSupergraph | null> {
    if (this.#read !== undefined) return this.#read;
    try {
      const text = await this.#keeper.read();
      this.#fault.worked();
      if (text !== null) this.#read = this.#understood(text);
      return this.#read ?? null;
    } catch (error) {
      if (!this.#closed) this.#fault.failed(error);
      return null;
    }
  }

  /** Keeps it, unless it is kept already. Never throws. */
  async write(supergraph: KeptSupergraph): Promise<void> {
    const now = performance.now();
    if (isSame(this.#written, supergraph) && now - this.#writtenAt < this.#keeper.lastsMs) return;
    if (this.#writing || (this.#fault.cause !== null && now - this.#triedAt < RETRY_MS)) return;
    this.#triedAt = now;
    this.#writing = true;
    try {
      await this.#keeper.write(this.#text(supergraph));
      this.#written = supergraph;
      this.#writtenAt = now;
      this.#fault.worked();
    } catch (error) {
      if (!this.#closed) this.#fault.failed(error);
    } finally {
      this.#writing = false;
    }
  }

  /** Why it cannot be kept now; null when it can. */
  get problem(): string | null {
    return this.#fault.cause;
  }

  close(): void {
    this.#closed = true;
    this.#fault.stop();
    this.#keeper.close();
  }

  #text({ composedAt, schemas }: KeptSupergraph): string {
    const subgraphs = this.#subgraphs.map(({ name, url }) => ({ name, url, schema: schemas.get(name) }));
    return JSON.stringify({ format: 1, composedAt, subgraphs });
  }

  /** Null, and a line in the log, for what is of no use. */
  #understood(text: string): KeptSupergraph | null {
    try {
      const { composedAt, subgraphs } = keptSchema.parse(JSON.parse(text));
      const names = (of: readonly Subgraph[]) => of.map(({ name, url }) => `${name}=${url}`).sort();
      if (names(subgraphs).join() !== names(this.#subgraphs).join()) {
        throw new Error(`It was composed of other subgraphs: ${names(subgraphs).join()}.`);
      }
      const schemas = new Map(subgraphs.map(({ name, schema }) => [name, schema]));
      composeSchemas(this.#subgraphs, schemas);
      return { composedAt, schemas };
    } catch (error) {
      this.#logger.warn(
        { cause: causeOf(error) },
        'the supergraph that was kept is damaged or of other subgraphs; it is ignored',
      );
      return null;
    }
  }
}

function isSame(a: KeptSupergraph | null, b: KeptSupergraph): boolean {
  return a?.composedAt === b.composedAt && [...b.schemas].every(([name, schema]) => a.schemas.get(name) === schema);
}

function inFile(path: string): Keeper {
  return {
    lastsMs: Number.POSITIVE_INFINITY,
    async read() {
      try {
        return await readFile(path, 'utf8');
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
        throw error;
      }
    },
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

function inRedis({ REDIS_URL, REDIS_PREFIX }: RedisPlace, subgraphs: readonly Subgraph[]): Keeper {
  const set = subgraphs.map(({ name, url: where }) => `${name}=${where}`).sort();
  const key = `supergraph:1:${createHash('sha256').update(set.join()).digest('base64url')}`;
  const redis = new Redis(REDIS_URL as string, {
    keyPrefix: REDIS_PREFIX,
    maxRetriesPerRequest: 1,
    connectTimeout: REDIS_TIMEOUT_MS,
    commandTimeout: REDIS_TIMEOUT_MS,
    retryStrategy: (attempt) => Math.min(attempt * 100, 1000),
  });
  // Each command says what is wrong.
  redis.on('error', () => undefined);
  return {
    lastsMs: REDIS_LASTS_MS,
    read: () => redis.get(key),
    async write(text) {
      await redis.set(key, text, 'EX', REDIS_TTL_S);
    },
    close: () => redis.disconnect(),
  };
}

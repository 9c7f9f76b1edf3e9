import { createHash } from 'node:crypto';
import { causeOf, Fault, systemTime, type Time } from '@tributary/server';
import type { Logger } from 'pino';
import { z } from 'zod';
import { openTextStorage, type RedisLocation, type TextStorage } from '../lib/text-storage.js';
import type { Subgraph } from '../subgraph/index.js';
import { composeSchemas, type Schemas } from './compose-schemas.js';

/** The schemas that a supergraph was composed from. */
export interface StoredSupergraph {
  /** ISO 8601, UTC. */
  readonly composedAt: string;
  readonly schemas: Schemas;
}

/** The longest text that is read, in bytes. */
const MAX_BYTES = 256 * 1024 * 1024;
const RETRY_MS = 5000;

const storedSchema = z.object({
  format: z.literal(1),
  composedAt: z.iso.datetime(),
  subgraphs: z.array(z.object({ name: z.string(), url: z.string(), schema: z.string() })),
});

/**
 * Stores the schemas of the supergraph that was served last, in a file or in Redis, so that a gateway that starts while a subgraph is down
 * serves it. They belong to one set of subgraphs (names and URLs); schemas of another set, and damaged ones, are ignored.
 */
export class SupergraphFallback {
  readonly #subgraphs: readonly Subgraph[];
  readonly #storage: TextStorage;
  readonly #logger: Logger;
  readonly #time: Time;
  readonly #fault: Fault;
  #written: StoredSupergraph | null = null;
  #writtenAt = Number.NEGATIVE_INFINITY;
  #triedAt = Number.NEGATIVE_INFINITY;
  #read: StoredSupergraph | null | undefined;
  #writing = false;
  #closed = false;

  /** @param place the path of a file, or `redis` @param subgraphs with URLs that hold no credentials */
  constructor(
    place: string,
    redis: RedisLocation,
    subgraphs: readonly Subgraph[],
    logger: Logger,
    time: Time = systemTime,
  ) {
    this.#time = time;
    this.#subgraphs = subgraphs;
    this.#storage = openTextStorage({ place, redis, key: keyOf(subgraphs), maxBytes: MAX_BYTES });
    this.#logger = logger;
    this.#fault = new Fault({
      logger,
      began: 'the last supergraph cannot be kept: after a restart during an outage there would be none to serve',
      ended: 'the last supergraph is kept again',
    });
  }

  /** Null when none is stored for these subgraphs, or when it cannot be read now. Never throws; takes at most two seconds. */
  async read(): Promise<StoredSupergraph | null> {
    if (this.#read !== undefined) return this.#read;
    try {
      const text = await this.#storage.read();
      this.#fault.worked();
      if (text !== null) this.#read = await this.#parse(text);
      return this.#read ?? null;
    } catch (error) {
      if (!this.#closed) this.#fault.failed(error);
      return null;
    }
  }

  /** Stores a supergraph, unless it is stored already. Never throws. */
  async write(supergraph: StoredSupergraph): Promise<void> {
    const now = this.#time.monotonic();
    if (isSame(this.#written, supergraph) && now - this.#writtenAt < this.#storage.rewriteMs) return;
    if (this.#writing || (this.#fault.cause !== null && now - this.#triedAt < RETRY_MS)) return;
    this.#triedAt = now;
    this.#writing = true;
    try {
      await this.#storage.write(this.#text(supergraph));
      this.#written = supergraph;
      this.#writtenAt = now;
      this.#fault.worked();
    } catch (error) {
      if (!this.#closed) this.#fault.failed(error);
    } finally {
      this.#writing = false;
    }
  }

  /** Why it cannot be stored now; null when it can. */
  get problem(): string | null {
    return this.#fault.cause;
  }

  close(): void {
    this.#closed = true;
    this.#fault.stop();
    this.#storage.close();
  }

  #text({ composedAt, schemas }: StoredSupergraph): string {
    const subgraphs = this.#subgraphs.map(({ name, url }) => ({ name, url, schema: schemas.get(name) }));
    return JSON.stringify({ format: 1, composedAt, subgraphs });
  }

  /** Null, with a line in the log, for a text that is damaged or of other subgraphs. */
  async #parse(text: string): Promise<StoredSupergraph | null> {
    try {
      const { composedAt, subgraphs } = storedSchema.parse(JSON.parse(text));
      const names = (of: readonly Subgraph[]) => of.map(({ name, url }) => `${name}=${url}`).sort();
      if (names(subgraphs).join() !== names(this.#subgraphs).join()) {
        throw new Error(`It was composed of other subgraphs: ${names(subgraphs).join()}.`);
      }
      const schemas = new Map(subgraphs.map(({ name, schema }) => [name, schema]));
      await composeSchemas(this.#subgraphs, schemas);
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

function isSame(a: StoredSupergraph | null, b: StoredSupergraph): boolean {
  return a?.composedAt === b.composedAt && [...b.schemas].every(([name, schema]) => a.schemas.get(name) === schema);
}

function keyOf(subgraphs: readonly Subgraph[]): string {
  const set = subgraphs.map(({ name, url }) => `${name}=${url}`).sort();
  return `supergraph:1:${createHash('sha256').update(set.join()).digest('base64url')}`;
}

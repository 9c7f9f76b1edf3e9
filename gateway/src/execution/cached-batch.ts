import type { CacheEntry, EntityCache, Lookup } from '../cache/index.js';
import type { Json } from '../lib/json.js';
import { type BatchResult, type EntityBatch, type EntityError, errorsInBatch, partOfBatch } from './entity-batch.js';

/** Entities from a cache are not cached again, so nothing needs their positions. */
const NO_POSITIONS = () => undefined;

/** A batch while it is served: its look-up in the cache, what was fetched since, and the result so far. */
export class CachedBatch {
  readonly batch: EntityBatch;
  /** Indices that another request was fetching, but did not bring. */
  readonly late: number[] = [];
  readonly #lookup: Lookup;
  readonly #fetched = new Map<number, CacheEntry>();
  readonly #entities: (Json | undefined)[] = [];
  #errors: readonly EntityError[] = [];

  constructor(batch: EntityBatch, lookup: Lookup) {
    this.batch = batch;
    this.#lookup = lookup;
  }

  /** The indices that are neither in the cache nor being fetched by another request. */
  missing(): number[] {
    const { found, awaited } = this.#lookup;
    return this.batch.representations.flatMap((_, index) => (found[index] || awaited.has(index) ? [] : [index]));
  }

  /** Waits for the fetches of other requests, one promise each; what they do not bring is `late`. */
  awaitOthers(): Promise<void>[] {
    const { found, awaited } = this.#lookup;
    return [...awaited].map(async ([index, other]) => {
      const entry = await other;
      if (entry) found[index] = entry;
      else this.late.push(index);
    });
  }

  part(indices: readonly number[]): EntityBatch {
    return partOfBatch(this.batch, indices);
  }

  /** Adds the result of a part, and releases its claims. @returns the new entries */
  add(indices: readonly number[], result: BatchResult, cache: EntityCache): CacheEntry[] {
    const { entities, errors, positionsOf } = result;
    const plan = this.batch.operation.cache;
    const added: CacheEntry[] = [];
    indices.forEach((index, place) => {
      this.#entities[index] = entities?.[place];
      if (!plan || !entities || errors.length > 0) return;
      const entry = cache.entryOf(plan, entities[place], positionsOf(place));
      if (!entry) return;
      this.#fetched.set(index, entry);
      added.push(entry);
    });
    // Other requests wait for these, and must not wait for what this request waits for.
    this.#lookup.release(indices, this.#fetched);
    if (errors.length > 0) this.#errors = [...this.#errors, ...errorsInBatch(result, indices)];
    return added;
  }

  /** Releases all claims that are left. */
  settle(): void {
    this.#lookup.settle(this.#fetched);
  }

  /** The entries that came from the cache or from another request. */
  hits(): CacheEntry[] {
    return this.#lookup.found.filter((entry) => entry !== undefined);
  }

  result(read: (entry: CacheEntry) => Json): BatchResult {
    for (const [index, entry] of this.#lookup.found.entries()) if (entry) this.#entities[index] = read(entry);
    return { entities: this.#entities, errors: this.#errors, positionsOf: NO_POSITIONS };
  }
}

import type { Time, Timer } from '@tributary/server';
import { Counter, type Registry } from 'prom-client';
import { latest, NO_REQUIREMENTS, type Observed, type Requirements, reached } from '../consistency/index.js';
import type { Json } from '../lib/json.js';
import { isJson } from '../lib/json-text.js';
import type { SubgraphResult } from '../subgraph/index.js';
import type { CachePlan } from './cache-control.js';
import type { CacheEntry } from './cache-entry.js';
import type { InvalidationLog } from './invalidation-log.js';
import type { TieredStore } from './tiered-store.js';

/** How long a fetch of another gateway is waited for, and the interval of looking for its result. */
const ELSEWHERE_PATIENCE_MS = 40;
const ELSEWHERE_LOOK_MS = 5;
/** How long a fetch of another request of this gateway is waited for; an older claim is taken over. */
const CLAIM_MS = 500;

/** Keys to look up: entities or a root field of one subgraph. */
export interface KeysOfSubgraph {
  readonly subgraph: string;
  readonly keys: readonly string[];
}

/** The result of a look-up, and the claims on keys that are left to be fetched. */
export interface Lookup {
  /** In the order of the keys; undefined for those to fetch. */
  readonly found: (CacheEntry | undefined)[];
  /** By index: fetches of other requests; they resolve to undefined when they fail or take too long. */
  readonly awaited: ReadonlyMap<number, Promise<CacheEntry | undefined>>;
  /** Releases the claims on these keys, by index, with the entries that were fetched for them, if any. */
  release(indices: readonly number[], fetched: ReadonlyMap<number, CacheEntry>): void;
  /** Releases the claims that are left. Must be called once, whatever happened. */
  settle(fetched: ReadonlyMap<number, CacheEntry>): void;
}

/** A fetch of one key in flight, which other requests may wait for. */
interface Claim {
  /** By the monotonic clock; the data is read after that. */
  readonly begunAt: number;
  readonly result: Promise<CacheEntry | undefined>;
  readonly resolve: (entry: CacheEntry | undefined) => void;
}

/** The state of a look-up, by index of its keys. */
interface LookupState {
  readonly found: (CacheEntry | undefined)[];
  readonly awaited: Map<number, Promise<CacheEntry | undefined>>;
  readonly claims: Map<number, Claim>;
}

/** One key of a look-up. */
interface LookupKey extends LookupState {
  readonly key: string;
  readonly index: number;
}

/** A cache of entities and root fields that events invalidate. Serves an entry while it is current and meets the request's requirements. */
export class EntityCache {
  readonly #store: TieredStore;
  readonly #log: InvalidationLog;
  readonly #time: Time;
  readonly #reads: Counter<'subgraph' | 'outcome'>;
  /** The positions that mutations through this gateway reached: older entries are not served, even before their events arrive. */
  #written: ReadonlyMap<string, number> = new Map();
  readonly #claims = new Map<string, Claim>();

  constructor(store: TieredStore, log: InvalidationLog, metrics: Registry, time: Time) {
    this.#store = store;
    this.#log = log;
    this.#time = time;
    this.#reads = new Counter({
      name: 'gateway_cache_reads_total',
      help: 'Look-ups of entities and root fields, by outcome: hit or miss',
      labelNames: ['subgraph', 'outcome'] as const,
      registers: [metrics],
    });
  }

  /** Notes the outcome of a mutation: later requests to this gateway read its effects. */
  noteWritten(observed: readonly Observed[]): void {
    for (const { subgraph, invalidations } of observed)
      if (invalidations) this.#log.applyOutOfBand(subgraph, invalidations);
    this.#written = latest(this.#written, reached(observed));
  }

  /** Notes that a subgraph reports positions: its data can be cached as soon as its invalidations arrive. */
  expect(subgraph: string): void {
    this.#log.expectSource(subgraph);
  }

  /** Waits, at most for `patienceMs`, until the invalidation log has reached the positions that the client has seen. */
  async prepare({ positions }: Requirements, patienceMs: number): Promise<void> {
    if (positions.size > 0) await this.#log.waitFor(positions, patienceMs);
  }

  /** Changes with every invalidation: a response that was begun in the same epoch is current. */
  get epoch(): number {
    return this.#log.epoch;
  }

  /** The position of the last event of a source that is applied; 0 when there is none. */
  watermark(source: string): number {
    return this.#log.position(source);
  }

  async lookUp(subgraph: string, keys: readonly string[], requirements: Requirements): Promise<Lookup> {
    const [lookup] = await this.lookUpAll([{ subgraph, keys }], requirements);
    return lookup as Lookup;
  }

  /**
   * Looks up everything that one step of a request needs, in one round trip to Redis; then claims the keys that are neither there nor being
   * fetched by another request. All claims are made at once, and each depends on its own fetch alone, so requests cannot deadlock.
   */
  async lookUpAll(batches: readonly KeysOfSubgraph[], requirements: Requirements): Promise<Lookup[]> {
    const { positions, maxStalenessMs } = requirements;
    const lookups = batches.map(({ keys }) => ({
      found: keys.map((key) => this.#usable(this.#store.memory.get(key), requirements)),
      awaited: new Map<number, Promise<CacheEntry | undefined>>(),
      claims: new Map<number, Claim>(),
    }));
    const all = batches.flatMap(({ keys }, n) =>
      keys.map((key, index) => ({ key, index, ...(lookups[n] as LookupState) })),
    );
    const missing = all.filter(({ found, index }) => !found[index]);
    // `maxStaleness: 0` bypasses the cache, and joins no fetch in flight.
    if (maxStalenessMs > 0) await this.#readRedis(missing, requirements);

    // No await in this loop: all claims of a request are made before it waits for another one's.
    const now = this.#time.monotonic();
    const patience = new Patience(CLAIM_MS, this.#time);
    for (const { key, index, found, awaited, claims } of missing) {
      if (found[index]) continue;
      const other = this.#claims.get(key);
      const isRecent = other && maxStalenessMs > 0 && now - other.begunAt <= Math.min(maxStalenessMs, CLAIM_MS);
      if (isRecent)
        awaited.set(index, patience.orNothing(other.result.then((entry) => this.#usable(entry, requirements))));
      else claims.set(index, this.#claim(key, now));
    }

    const results = batches.map(({ keys }, n): Lookup => {
      const { found, awaited, claims } = lookups[n] as LookupState;
      const release: Lookup['release'] = (indices, fetched) => this.#release(keys, claims, indices, fetched, found);
      return { found, awaited, release, settle: (fetched) => release([...claims.keys()], fetched) };
    });
    try {
      const hasNoRequirements = positions.size === 0 && !Number.isFinite(maxStalenessMs);
      if (hasNoRequirements) await this.#awaitElsewhere(missing.filter(({ claims, index }) => claims.has(index)));
    } catch (error) {
      for (const { settle } of results) settle(new Map());
      throw error;
    }
    for (const [n, { subgraph }] of batches.entries()) {
      const { found, claims } = lookups[n] as LookupState;
      this.#count(subgraph, found);
      // Entries that another gateway has fetched meanwhile need no claim.
      results[n]?.release(
        [...claims.keys()].filter((index) => found[index]),
        new Map(),
      );
    }
    return results;
  }

  async #readRedis(lookupKeys: readonly LookupKey[], requirements: Requirements): Promise<void> {
    const entries = await this.#store.redis?.get(lookupKeys.map(({ key }) => key));
    if (!entries) return;
    for (const [n, { key, found, index }] of lookupKeys.entries()) {
      const entry = entries[n];
      // An entry that was invalidated or erased since it was written is not copied.
      if (entry && this.#log.isCurrent(entry)) this.#store.memory.set(key, entry);
      found[index] = this.#usable(entry, requirements);
    }
  }

  #claim(key: string, begunAt: number): Claim {
    let resolve: Claim['resolve'] = () => undefined;
    const result = new Promise<CacheEntry | undefined>((done) => {
      resolve = done;
    });
    const claim = { begunAt, result, resolve };
    this.#claims.set(key, claim);
    return claim;
  }

  /** Ends claims, resolves the waiters, and stores the fetched entries. Ignores indices without a claim. */
  #release(
    keys: readonly string[],
    claims: Map<number, Claim>,
    indices: readonly number[],
    fetched: ReadonlyMap<number, CacheEntry>,
    found: readonly (CacheEntry | undefined)[],
  ): void {
    const stored: (readonly [string, CacheEntry])[] = [];
    const released: string[] = [];
    for (const index of indices) {
      const claim = claims.get(index);
      if (!claim) continue;
      claims.delete(index);
      const key = keys[index] as string;
      if (this.#claims.get(key) === claim) this.#claims.delete(key);
      released.push(key);
      const entry = fetched.get(index);
      claim.resolve(entry ?? found[index]);
      // An entry that was invalidated while it was fetched is not stored.
      if (entry && this.#log.isCurrent(entry)) stored.push([key, entry]);
    }
    if (released.length > 0) this.#store.store(stored, released);
  }

  #count(subgraph: string, found: readonly (CacheEntry | undefined)[]): void {
    const hits = found.filter((entry) => entry !== undefined).length;
    if (hits < found.length) this.#reads.inc({ subgraph, outcome: 'miss' }, found.length - hits);
    if (hits > 0) this.#reads.inc({ subgraph, outcome: 'hit' }, hits);
  }

  /** Waits a little for the keys that another gateway is fetching. */
  async #awaitElsewhere(claimed: readonly LookupKey[]): Promise<void> {
    const leased = await this.#store.redis?.lease(claimed.map(({ key }) => key));
    let elsewhere = leased ? claimed.filter((_key, n) => !leased[n]) : [];
    const until = this.#time.monotonic() + ELSEWHERE_PATIENCE_MS;
    while (elsewhere.length > 0 && this.#time.monotonic() < until) {
      await this.#time.sleep(ELSEWHERE_LOOK_MS);
      await this.#readRedis(elsewhere, NO_REQUIREMENTS);
      elsewhere = elsewhere.filter(({ found, index }) => !found[index]);
    }
  }

  /** Whether an applied event has changed an entity after the position that a copy of it was read from. */
  isOutdated({ owner, positions, entities }: CacheEntry): boolean {
    return positions.some(
      ([source, position]) => source !== owner && this.#log.isInvalidatedSince(source, position, entities),
    );
  }

  /** The entry for a result of a subgraph; null when the subgraph reports no positions, or the result is not JSON (`1e400`). */
  entryOf(plan: CachePlan, value: Json | undefined, read: SubgraphResult['positions']): CacheEntry | null {
    const own = read?.get(plan.subgraph);
    // A value that JSON cannot represent would come back as another one.
    if (!read || !own || !isJson(value)) return null;
    const { entities, owned } = plan.dependenciesOf(value);
    // Without copies in the result, their positions do not matter.
    const positions: [string, number][] =
      entities.length === 0
        ? [[plan.subgraph, own.position]]
        : [...read].map(([source, { position }]) => [source, position]);
    return {
      text: JSON.stringify(value ?? null),
      owner: plan.subgraph,
      positions,
      entities,
      owned,
      storedAt: this.#time.now(),
    };
  }

  #usable(
    entry: CacheEntry | undefined,
    { positions: required, maxStalenessMs }: Requirements,
  ): CacheEntry | undefined {
    if (!entry || maxStalenessMs <= 0) return undefined;
    const { positions } = entry;
    if (!this.#log.isCurrent(entry)) return undefined;
    const age = this.#log.ageMs(positions);
    if (!Number.isFinite(age) || age > maxStalenessMs) return undefined;
    for (const [source, position] of positions) {
      if (
        Math.max(position, this.#log.position(source)) <
        Math.max(required.get(source) ?? 0, this.#written.get(source) ?? 0)
      )
        return undefined;
    }
    return entry;
  }
}

/** Waits for promises up to a common deadline, with one timer. */
class Patience {
  readonly #ms: number;
  readonly #time: Time;
  #over: Promise<undefined> | null = null;
  #open = 0;
  #timer: Timer | undefined;

  constructor(ms: number, time: Time) {
    this.#ms = ms;
    this.#time = time;
  }

  /** Resolves to undefined when the deadline comes first. */
  orNothing<T>(promise: Promise<T>): Promise<T | undefined> {
    this.#over ??= new Promise((resolve) => {
      this.#timer = this.#time.setTimeout(() => resolve(undefined), this.#ms);
    });
    this.#open += 1;
    return Promise.race([promise, this.#over]).finally(() => {
      this.#open -= 1;
      if (this.#open === 0) this.#timer?.clear();
    });
  }
}

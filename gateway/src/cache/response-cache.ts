import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, type Registry } from 'prom-client';
import { latest, NO_REQUIREMENTS, type Observed, type Requirements, reached } from '../consistency/requirements.js';
import type { Json } from '../lib/json.js';
import { isJson } from '../lib/json-text.js';
import type { SubgraphResult } from '../subgraph/subgraph-client.js';
import type { CachePlan } from './cache-policy.js';
import type { CacheEntry, CacheStore } from './cache-store.js';
import type { Streams } from './streams.js';

/** How long what another gateway fetches is waited for, and how often it is looked for. */
const ELSEWHERE_PATIENCE_MS = 40;
const ELSEWHERE_LOOK_MS = 5;
/** How long what another request of this gateway fetches is waited for; a claim that is older is taken over. */
const CLAIM_MS = 500;

/** What is looked for: entities or a root field of one subgraph, by key. */
export interface Wanted {
  readonly subgraph: string;
  readonly keys: readonly string[];
}

/** What a look-up found, and what is left to be fetched. */
export interface Lookup {
  /** In the order of the keys; undefined where it has to be fetched. */
  readonly found: (CacheEntry | undefined)[];
  /** Who else fetches it already; resolves to nothing when that did not work out, or takes too long. */
  readonly awaited: ReadonlyMap<number, Promise<CacheEntry | undefined>>;
  /** Gives up the claims on these keys, by index, and says what was fetched for them, if anything: as soon as that is known. */
  release(indices: readonly number[], fetched: ReadonlyMap<number, CacheEntry>): void;
  /** Releases what is not released yet; must be called once, whatever happened. */
  settle(fetched: ReadonlyMap<number, CacheEntry>): void;
}

/** A key that a request fetches, so that others need not. */
interface Claim {
  /** By `performance.now()`; what is fetched was read after that. */
  readonly begunAt: number;
  readonly result: Promise<CacheEntry | undefined>;
  readonly resolve: (entry: CacheEntry | undefined) => void;
}

/** What a look-up has of each of its keys, by index. */
interface Places {
  readonly found: (CacheEntry | undefined)[];
  readonly awaited: Map<number, Promise<CacheEntry | undefined>>;
  readonly claims: Map<number, Claim>;
}

/** One key of a look-up. */
interface Place extends Places {
  readonly key: string;
  readonly index: number;
}

/** Serves what was read before, as long as nothing that it was made from has changed, and it is as fresh as the reader demands. */
export class ResponseCache {
  readonly #store: CacheStore;
  readonly #streams: Streams;
  readonly #reads: Counter<'subgraph' | 'outcome'>;
  /** The state that mutations through this gateway have made: what is older is not served, though its events were not heard of yet. */
  #written: ReadonlyMap<string, number> = new Map();
  readonly #claims = new Map<string, Claim>();

  constructor(store: CacheStore, streams: Streams, metrics: Registry) {
    this.#store = store;
    this.#streams = streams;
    this.#reads = new Counter({
      name: 'gateway_cache_reads_total',
      help: 'Entities and root fields that were looked for in the cache: hit or miss',
      labelNames: ['subgraph', 'outcome'] as const,
      registers: [metrics],
    });
  }

  /** A mutation was answered: whoever asks this gateway from now on reads what it has done. */
  noteWritten(observed: readonly Observed[]): void {
    for (const { subgraph, invalidations } of observed)
      if (invalidations) this.#streams.hearBeside(subgraph, invalidations);
    this.#written = latest(this.#written, reached(observed));
  }

  /** A subgraph says from which state it answers: what it answers can be kept as soon as it is heard of. */
  expect(subgraph: string): void {
    this.#streams.expect(subgraph);
  }

  /** Waits a moment until what the reader has seen was heard of here. */
  async prepare({ positions }: Requirements, patienceMs: number): Promise<void> {
    if (positions.size > 0) await this.#streams.reach(positions, patienceMs);
  }

  /** Who asks now may be given what was begun in the same epoch. */
  get epoch(): number {
    return this.#streams.epoch;
  }

  /** The last event of a source that was heard of. */
  heard(source: string): number {
    return this.#streams.position(source);
  }

  async lookUp(subgraph: string, keys: readonly string[], requirements: Requirements): Promise<Lookup> {
    const [lookup] = await this.lookUpAll([{ subgraph, keys }], requirements);
    return lookup as Lookup;
  }

  /**
   * Looks for everything that one step of a request wants, in one round trip to Redis; then claims what is neither there nor being
   * fetched by another request. All claims are taken at once, and each depends on its own fetch alone, so requests cannot wait for each
   * other in a circle.
   */
  async lookUpAll(wanted: readonly Wanted[], requirements: Requirements): Promise<Lookup[]> {
    const { positions, maxStalenessMs } = requirements;
    const lookups = wanted.map(({ keys }) => ({
      found: keys.map((key) => this.#usable(this.#store.near(key), requirements)),
      awaited: new Map<number, Promise<CacheEntry | undefined>>(),
      claims: new Map<number, Claim>(),
    }));
    const places = wanted.flatMap(({ keys }, n) =>
      keys.map((key, index) => ({ key, index, ...(lookups[n] as Places) })),
    );
    const missing = places.filter(({ found, index }) => !found[index]);
    // Staleness 0 bypasses the cache, and waits for no other request.
    if (maxStalenessMs > 0) await this.#readFar(missing, requirements);

    // No await in here: a request that waits for another one's fetch has all its own claims, and those it does not wait for.
    const now = performance.now();
    const patience = new Patience(CLAIM_MS);
    for (const { key, index, found, awaited, claims } of missing) {
      if (found[index]) continue;
      const other = this.#claims.get(key);
      const isRecent = other && maxStalenessMs > 0 && now - other.begunAt <= Math.min(maxStalenessMs, CLAIM_MS);
      if (isRecent)
        awaited.set(index, patience.orNothing(other.result.then((entry) => this.#usable(entry, requirements))));
      else claims.set(index, this.#claim(key, now));
    }

    const results = wanted.map(({ keys }, n): Lookup => {
      const { found, awaited, claims } = lookups[n] as Places;
      const release: Lookup['release'] = (indices, fetched) => this.#release(keys, claims, indices, fetched, found);
      return { found, awaited, release, settle: (fetched) => release([...claims.keys()], fetched) };
    });
    try {
      const demandsNothing = positions.size === 0 && !Number.isFinite(maxStalenessMs);
      if (demandsNothing) await this.#awaitElsewhere(missing.filter(({ claims, index }) => claims.has(index)));
    } catch (error) {
      for (const { settle } of results) settle(new Map());
      throw error;
    }
    for (const [n, { subgraph }] of wanted.entries()) {
      const { found, claims } = lookups[n] as Places;
      this.#count(subgraph, found);
      // What another gateway has fetched meanwhile needs no claim.
      results[n]?.release(
        [...claims.keys()].filter((index) => found[index]),
        new Map(),
      );
    }
    return results;
  }

  async #readFar(places: readonly Place[], requirements: Requirements): Promise<void> {
    const entries = await this.#store.far(places.map(({ key }) => key));
    if (!entries) return;
    for (const [n, { key, found, index }] of places.entries()) {
      const entry = entries[n];
      // What was touched, or erased, since it was written is not taken over.
      if (entry && this.#streams.isCurrent(entry)) this.#store.keepNear(key, entry);
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

  /** Ends claims, tells who waits for them, and keeps what was fetched. What is no claim (any more) is left alone. */
  #release(
    keys: readonly string[],
    claims: Map<number, Claim>,
    indices: readonly number[],
    fetched: ReadonlyMap<number, CacheEntry>,
    found: readonly (CacheEntry | undefined)[],
  ): void {
    const kept: (readonly [string, CacheEntry])[] = [];
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
      // What was touched while it was fetched is not kept.
      if (entry && this.#streams.isCurrent(entry)) kept.push([key, entry]);
    }
    if (released.length > 0) this.#store.store(kept, released);
  }

  #count(subgraph: string, found: readonly (CacheEntry | undefined)[]): void {
    const hits = found.filter((entry) => entry !== undefined).length;
    if (hits < found.length) this.#reads.inc({ subgraph, outcome: 'miss' }, found.length - hits);
    if (hits > 0) this.#reads.inc({ subgraph, outcome: 'hit' }, hits);
  }

  /** What another gateway is fetching at this moment is waited for, a little. */
  async #awaitElsewhere(mine: readonly Place[]): Promise<void> {
    const leased = await this.#store.lease(mine.map(({ key }) => key));
    let elsewhere = leased ? mine.filter((_place, n) => !leased[n]) : [];
    const until = performance.now() + ELSEWHERE_PATIENCE_MS;
    while (elsewhere.length > 0 && performance.now() < until) {
      await sleep(ELSEWHERE_LOOK_MS);
      await this.#readFar(elsewhere, NO_REQUIREMENTS);
      elsewhere = elsewhere.filter(({ found, index }) => !found[index]);
    }
  }

  /** Whether something was touched, by events heard of already, after the state that a copy of it is from. */
  isOutdated({ owner, positions, entities }: CacheEntry): boolean {
    return positions.some(
      ([source, position]) => source !== owner && this.#streams.isTouchedSince(source, position, entities),
    );
  }

  /** What a subgraph answered, as it is kept; null when it does not say from which state, or holds what is no JSON (`1e400`). */
  entryOf(plan: CachePlan, value: Json | undefined, read: SubgraphResult['positions']): CacheEntry | null {
    const own = read?.get(plan.subgraph);
    // What cannot be written as it is would come back as something else.
    if (!read || !own || !isJson(value)) return null;
    const { entities, owned } = plan.madeFrom(value);
    // Where no copy is in it, the state of copies says nothing.
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
      storedAt: Date.now(),
    };
  }

  #usable(entry: CacheEntry | undefined, { positions: wanted, maxStalenessMs }: Requirements): CacheEntry | undefined {
    if (!entry || maxStalenessMs <= 0) return undefined;
    const { positions } = entry;
    if (!this.#streams.isCurrent(entry)) return undefined;
    const age = this.#streams.ageMs(positions);
    if (!Number.isFinite(age) || age > maxStalenessMs) return undefined;
    for (const [source, position] of positions) {
      if (
        Math.max(position, this.#streams.position(source)) <
        Math.max(wanted.get(source) ?? 0, this.#written.get(source) ?? 0)
      )
        return undefined;
    }
    return entry;
  }
}

/** Waits for promises up to a common deadline, with one timer. */
class Patience {
  readonly #ms: number;
  #over: Promise<undefined> | null = null;
  #open = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Resolves to nothing when the deadline comes first. */
  orNothing<T>(promise: Promise<T>): Promise<T | undefined> {
    this.#over ??= new Promise((resolve) => {
      this.#timer = setTimeout(() => resolve(undefined), this.#ms);
    });
    this.#open += 1;
    return Promise.race([promise, this.#over]).finally(() => {
      this.#open -= 1;
      if (this.#open === 0) clearTimeout(this.#timer);
    });
  }
}

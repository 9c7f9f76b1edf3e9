import { setTimeout as sleep } from 'node:timers/promises';
import { Counter, type Registry } from 'prom-client';
import type { Json, SubgraphResult } from '../engine/types.js';
import type { CachePlan } from './cache-policy.js';
import type { CacheEntry, CacheStore } from './cache-store.js';
import { latest, NO_REQUIREMENTS, type Observed, type Requirements, reached } from './requirements.js';
import type { Streams } from './streams.js';

/** How long what another gateway fetches is waited for, and how often it is looked for. */
const ELSEWHERE_PATIENCE_MS = 40;
const ELSEWHERE_LOOK_MS = 5;

/** What a lookup found, and what is left to be fetched. */
export interface Lookup {
  /** In the order of the keys; undefined where it has to be fetched. */
  readonly found: (CacheEntry | undefined)[];
  /** Who else fetches it already; resolves to nothing when that did not work out. */
  readonly awaited: ReadonlyMap<number, Promise<CacheEntry | undefined>>;
  /** Says what was fetched, by index; must be called once, whatever happened. */
  settle(fetched: ReadonlyMap<number, CacheEntry>): void;
}

/** Serves what was read before, as long as nothing that it was made from has changed, and it is as fresh as the reader demands. */
export class ResponseCache {
  readonly #store: CacheStore;
  readonly #streams: Streams;
  readonly #reads: Counter<'subgraph' | 'outcome'>;
  /** The state that mutations through this gateway have made: what is older is not served, though its events were not heard of yet. */
  #written: ReadonlyMap<string, number> = new Map();
  readonly #underWay = new Map<string, Promise<CacheEntry | undefined>>();

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
    for (const { subgraph, touches } of observed) if (touches) this.#streams.hearBeside(subgraph, touches);
    this.#written = latest(this.#written, reached(observed));
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
    const found = keys.map((key) => this.#usable(this.#store.near(key), requirements));
    const missing = () => keys.flatMap((_key, i) => (found[i] ? [] : [i]));
    // Who wants the owner's word looks nowhere, and waits for nobody.
    const looks = requirements.maxStalenessMs > 0;
    const far = looks ? this.#store.far(missing().map((i) => keys[i] as string)) : null;
    if (far) {
      const indices = missing();
      for (const [n, entry] of (await far).entries()) found[indices[n] as number] = this.#usable(entry, requirements);
    }
    const awaited = new Map<number, Promise<CacheEntry | undefined>>();
    const mine = new Map<number, (entry: CacheEntry | undefined) => void>();
    for (const i of missing()) {
      const key = keys[i] as string;
      const other = this.#underWay.get(key);
      if (other && looks)
        awaited.set(
          i,
          other.then((entry) => this.#usable(entry, requirements)),
        );
      else this.#underWay.set(key, new Promise((resolve) => mine.set(i, resolve)));
    }
    const demandsNothing = requirements.positions.size === 0 && !Number.isFinite(requirements.maxStalenessMs);
    if (demandsNothing) await this.#awaitElsewhere(keys, [...mine.keys()], found);
    const misses = missing().length;
    if (misses > 0) this.#reads.inc({ subgraph, outcome: 'miss' }, misses);
    if (misses < keys.length) this.#reads.inc({ subgraph, outcome: 'hit' }, keys.length - misses);
    const settle = (fetched: ReadonlyMap<number, CacheEntry>) => {
      const kept: (readonly [string, CacheEntry])[] = [];
      for (const [i, resolve] of mine) {
        const entry = fetched.get(i);
        this.#underWay.delete(keys[i] as string);
        resolve(entry ?? found[i]);
        // What was touched while it was fetched is not kept.
        if (entry && this.#streams.isCurrent(entry)) kept.push([keys[i] as string, entry]);
      }
      this.#store.store(
        kept,
        [...mine.keys()].map((i) => keys[i] as string),
      );
    };
    return { found, awaited, settle };
  }

  /** What another gateway is fetching at this moment is waited for, a little. */
  async #awaitElsewhere(
    keys: readonly string[],
    mine: readonly number[],
    found: (CacheEntry | undefined)[],
  ): Promise<void> {
    const leased = await this.#store.lease(mine.map((i) => keys[i] as string));
    let elsewhere = leased ? mine.filter((_i, n) => !leased[n]) : [];
    const until = performance.now() + ELSEWHERE_PATIENCE_MS;
    while (elsewhere.length > 0 && performance.now() < until) {
      await sleep(ELSEWHERE_LOOK_MS);
      const entries = await this.#store.far(elsewhere.map((i) => keys[i] as string));
      if (!entries) return;
      for (const [n, i] of elsewhere.entries()) found[i] = this.#usable(entries[n], NO_REQUIREMENTS);
      elsewhere = elsewhere.filter((i) => !found[i]);
    }
  }

  /** Whether something was touched, by events heard of already, after the state that a copy of it is from. */
  isOutdated({ owner, positions, entities }: CacheEntry): boolean {
    return positions.some(
      ([source, position]) => source !== owner && this.#streams.isTouchedSince(source, position, entities),
    );
  }

  /** What a subgraph answered, as it is kept; null when it does not say from which state. */
  entryOf(plan: CachePlan, value: Json | undefined, read: SubgraphResult['positions']): CacheEntry | null {
    const own = read?.get(plan.subgraph);
    if (!read || !own) return null;
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

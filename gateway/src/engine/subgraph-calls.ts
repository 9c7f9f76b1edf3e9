import type { ResponsePath } from '@apollo/query-planner';
import { LRUCache } from 'lru-cache';
import type { CacheEntry } from '../freshness/cache-store.js';
import type { Requirements } from '../freshness/requirements.js';
import type { Lookup, ResponseCache } from '../freshness/response-cache.js';
import type { Abandonment } from './abandonment.js';
import { compose, type SubgraphOperation } from './composed-operation.js';
import {
  answerFor,
  distribute,
  type EntityAnswer,
  type EntityCall,
  type EntityGroup,
  type GroupAnswer,
  groupCalls,
  type PendingCall,
} from './entity-groups.js';
import { type FetchTrace, rounded } from './explanation.js';
import type { SharedFetches } from './shared-fetches.js';
import type { Fetcher, Json, JsonObject, Run, SubgraphResult } from './types.js';

const MAX_COMPOSED = 1000;

/** What of the answer a request is for. */
interface About {
  readonly paths: readonly ResponsePath[];
  readonly entities: number;
}

/**
 * Asks subgraphs what plans want of them, or takes it from the cache. Entity fetches of one request to one subgraph that come up in
 * the same turn of the event loop are merged: those that ask the same become one list of entities, the others stand beside
 * each other in one operation.
 */
export class SubgraphCalls {
  readonly #fetchers: ReadonlyMap<string, Fetcher>;
  readonly #shared: SharedFetches;
  readonly #mergeFetches: boolean;
  readonly #cache: ResponseCache | null;
  readonly #composed = new LRUCache<string, SubgraphOperation>({ max: MAX_COMPOSED });
  readonly #pending = new WeakMap<Run, Map<string, PendingCall[]>>();
  /** What is to be sent at the end of this turn of the event loop, of all requests. */
  #due: (() => void)[] = [];

  constructor(
    fetchers: ReadonlyMap<string, Fetcher>,
    shared: SharedFetches,
    mergeFetches: boolean,
    cache: ResponseCache | null,
  ) {
    this.#fetchers = fetchers;
    this.#shared = shared;
    this.#mergeFetches = mergeFetches;
    this.#cache = cache;
  }

  /** Whether there is a subgraph of this name. */
  has(subgraph: string): boolean {
    return this.#fetchers.has(subgraph);
  }

  async ask(run: Run, operation: SubgraphOperation, path: ResponsePath): Promise<SubgraphResult> {
    const variables = variableText(run, operation, []);
    const about = { paths: [path], entities: 0 };
    const send = () => this.#send(run, operation, `${operation.start}${variables}}`, about);
    const { cache } = operation;
    if (!this.#cache || !cache || !run.requirements) return send();
    const key = [operation.cacheKey, cache.isPrivate ? run.reader : '', variables].join(' ');
    const lookup = await this.#cache.lookUp(operation.subgraph, [key], run.requirements);
    const fetched = new Map<number, CacheEntry>();
    try {
      const kept = lookup.found[0] ?? (await lookup.awaited.get(0));
      if (kept) {
        this.#traceHits(run, operation, about, [kept]);
        return { data: readEntry(run, kept) as JsonObject };
      }
      const result = await send();
      const entry = result.errors || !result.data ? null : this.#cache.entryOf(cache, result.data, result.positions);
      if (entry) fetched.set(0, this.#keep(this.#cache, run, entry));
      return result;
    } finally {
      lookup.settle(fetched);
    }
  }

  askEntities(run: Run, call: EntityCall): Promise<EntityAnswer> {
    const { subgraph } = call.operation;
    return new Promise((answer) => {
      if (!this.#mergeFetches) {
        void this.#flush(run, [{ ...call, answer }]);
        return;
      }
      const pending = this.#pending.get(run) ?? new Map<string, PendingCall[]>();
      this.#pending.set(run, pending);
      const calls = pending.get(subgraph);
      if (calls) calls.push({ ...call, answer });
      else {
        const started = [{ ...call, answer }];
        pending.set(subgraph, started);
        if (this.#due.length === 0) setImmediate(() => this.#flushAll());
        this.#due.push(() => {
          pending.delete(subgraph);
          void this.#flush(run, started);
        });
      }
    });
  }

  #flushAll(): void {
    const due = this.#due;
    this.#due = [];
    for (const flush of due) flush();
  }

  async #flush(run: Run, calls: readonly PendingCall[]): Promise<void> {
    const groups = groupCalls(calls);
    const paths = calls.map(({ path }) => path);
    const answers =
      this.#cache && run.requirements && groups.some(({ operation }) => operation.cache)
        ? await this.#throughCache(this.#cache, run, run.requirements, groups, paths)
        : await this.#fetchGroups(run, groups, paths);
    groups.forEach((group, i) => {
      distribute(group, answers[i] as GroupAnswer);
    });
  }

  /** What the cache has is not asked for; what is being fetched for somebody else is waited for. */
  async #throughCache(
    cache: ResponseCache,
    run: Run,
    requirements: Requirements,
    groups: readonly EntityGroup[],
    paths: readonly ResponsePath[],
  ): Promise<EntityAnswer[]> {
    const wanted = groups.map((group) => {
      const { operation } = group;
      return { subgraph: operation.subgraph, keys: operation.cache ? entityKeys(run, group) : [] };
    });
    const looked = await cache.lookUpAll(wanted, requirements);
    const lookups = groups.map(({ operation, representations }, i) =>
      operation.cache ? (looked[i] as Lookup) : nothingCached(representations.length),
    );
    const fetched = groups.map(() => new Map<number, CacheEntry>());
    const answers: { entities: (Json | undefined)[] | null; errors: EntityAnswer['errors'] }[] = groups.map(() => ({
      entities: [],
      errors: [],
    }));
    const fetch = async (wanted: readonly (readonly number[])[]) => {
      const asked = wanted.flatMap((indices, i) => (indices.length > 0 ? [i] : []));
      if (asked.length === 0) return;
      const parts = asked.map((i) => partOf(groups[i] as EntityGroup, wanted[i] as readonly number[]));
      const results = await this.#fetchGroups(run, parts, paths);
      results.forEach(({ entities, errors, positions }, n) => {
        const i = asked[n] as number;
        const indices = wanted[i] as readonly number[];
        const answer = answers[i] as (typeof answers)[number];
        const plan = groups[i]?.operation.cache;
        indices.forEach((index, place) => {
          if (answer.entities) answer.entities[index] = entities?.[place];
          if (!plan || !entities || errors.length > 0) return;
          const entry = cache.entryOf(plan, entities[place], positions);
          if (entry) fetched[i]?.set(index, this.#keep(cache, run, entry));
        });
        // Others wait for these, and not for what this request waits for.
        lookups[i]?.release(indices, fetched[i] as Map<number, CacheEntry>);
        answer.errors = [
          ...answer.errors,
          ...errors.map((error) => ({ ...error, index: error.index === null ? null : (indices[error.index] ?? null) })),
        ];
      });
    };
    try {
      const late = groups.map((): number[] => []);
      const awaited = lookups.flatMap(({ awaited: others }, i) =>
        [...others].map(async ([index, other]) => {
          const entry = await other;
          if (entry) (lookups[i] as Lookup).found[index] = entry;
          else late[i]?.push(index);
        }),
      );
      await Promise.all([fetch(lookups.map(missingIn)), ...awaited]);
      await fetch(late);
    } finally {
      for (const [i, lookup] of lookups.entries()) lookup.settle(fetched[i] as Map<number, CacheEntry>);
    }
    lookups.forEach(({ found }, i) => {
      const entries = found.filter((entry) => entry !== undefined);
      if (entries.length === 0) return;
      const { operation, representations } = groups[i] as EntityGroup;
      this.#traceHits(run, operation, { paths, entities: representations.length }, entries);
      for (const [index, entry] of found.entries()) {
        const { entities } = answers[i] as (typeof answers)[number];
        if (entry && entities) entities[index] = readEntry(run, entry);
      }
    });
    return answers;
  }

  /** Notes when it is older than what was heard of since. */
  #keep(cache: ResponseCache, run: Run, entry: CacheEntry): CacheEntry {
    if (cache.isOutdated(entry)) run.outdated = true;
    return entry;
  }

  /** Fetches groups in one request. */
  async #fetchGroups(run: Run, groups: readonly EntityGroup[], paths: readonly ResponsePath[]): Promise<GroupAnswer[]> {
    const operation = this.#operationOf(groups);
    const list = ({ representations }: EntityGroup) => `[${representations.join()}]`;
    const [first] = groups as [EntityGroup];
    const own =
      groups.length === 1
        ? [['representations', list(first)] as const, ...first.contextual]
        : groups.flatMap((group, i) => [
            [`representations_${i}`, list(group)] as const,
            ...group.contextual.map(([name, value]) => [`${name}_${i}`, value] as const),
          ]);
    const entities = groups.reduce((sum, group) => sum + group.representations.length, 0);
    const body = `${operation.start}${variableText(run, operation, own)}}`;
    const result = await this.#send(run, operation, body, { paths, entities });
    return groups.map((group, i) => answerFor(group, groups.length === 1 ? '_entities' : `_${i}`, result));
  }

  #operationOf(groups: readonly EntityGroup[]): SubgraphOperation {
    const [first] = groups as [EntityGroup];
    if (groups.length === 1) return first.operation;
    const key = groups.map(({ operation }) => operation.id).join();
    let composed = this.#composed.get(key);
    if (!composed) {
      composed = compose(groups.map(({ operation }) => operation));
      this.#composed.set(key, composed);
    }
    return composed;
  }

  async #send(
    run: Run,
    { subgraph, repeatable }: SubgraphOperation,
    body: string,
    about: About,
  ): Promise<SubgraphResult> {
    const { headers, credentials, abandonment, traces } = run;
    if (abandonment?.happened) return {};
    const fetcher = this.#fetchers.get(subgraph) as Fetcher;
    const fetch = async (until: Abandonment | null) => {
      const sentAt = performance.now();
      return { ...(await fetcher({ body, headers, repeatable, abandonment: until })), sentAt };
    };
    const mayShare = repeatable && credentials !== null;
    const key = mayShare ? `${subgraph} ${this.#cache?.epoch ?? 0} ${credentials} ${body}` : '';
    const shared = mayShare && this.#shared.has(key);
    const started = traces ? performance.now() : 0;
    const result = mayShare
      ? await this.#shared.fetch(key, abandonment, fetch)
      : await fetch(repeatable ? abandonment : null);
    if (!result.plain) run.plain = false;
    const { positions, touches, bytes = 0, errors = [], sentAt = 0 } = result;
    if (positions) run.observed.push({ subgraph, positions, touches, at: sentAt });
    traces?.push({
      ...traceOf(subgraph, about),
      shared,
      startMs: started,
      durationMs: rounded(performance.now() - started),
      positions: Object.fromEntries(positions ?? []),
      bytes,
      errors: errors.length,
    });
    return result;
  }

  #traceHits({ traces }: Run, { subgraph }: SubgraphOperation, about: About, entries: readonly CacheEntry[]): void {
    if (!traces) return;
    // Another gateway, with another clock, may have written them.
    const cacheAgeMs = Math.max(0, Date.now() - Math.min(...entries.map(({ storedAt }) => storedAt)));
    traces.push({ ...traceOf(subgraph, about), startMs: performance.now(), cached: entries.length, cacheAgeMs });
  }
}

function traceOf(subgraph: string, { paths, entities }: About): FetchTrace {
  const places = paths.map((path) => path.join('.'));
  const nothing = {
    shared: false,
    startMs: 0,
    durationMs: 0,
    cached: 0,
    cacheAgeMs: 0,
    positions: {},
    bytes: 0,
    errors: 0,
  };
  return { subgraph, paths: places, entities, ...nothing };
}

function nothingCached(count: number): Lookup {
  const nothing = () => undefined;
  return { found: Array.from({ length: count }, nothing), awaited: new Map(), release: nothing, settle: nothing };
}

/** What is to be fetched: not there, and nobody else fetches it. */
function missingIn({ found, awaited }: Lookup): number[] {
  return found.flatMap((entry, i) => (entry || awaited.has(i) ? [] : [i]));
}

function partOf(group: EntityGroup, indices: readonly number[]): EntityGroup {
  if (indices.length === group.representations.length) return group;
  return { ...group, representations: indices.map((index) => group.representations[index] as string) };
}

/** What each entity of a group is kept under. */
function entityKeys(run: Run, { operation, contextual, representations }: EntityGroup): string[] {
  const start = [
    operation.cacheKey,
    operation.cache?.isPrivate ? run.reader : '',
    variableText(run, operation, contextual),
  ].join(' ');
  return representations.map((representation) => `${start} ${representation}`);
}

function readEntry(run: Run, { text }: CacheEntry): Json {
  if (text.includes('\\')) run.plain = false;
  return JSON.parse(text);
}

/** The variables that an operation uses, as JSON: the client's, then those of the plan. */
function variableText(
  { variables }: Run,
  { usages }: SubgraphOperation,
  own: readonly (readonly [name: string, value: string])[],
): string {
  const parts: string[] = [];
  for (const name of usages) {
    const value = variables[name];
    if (value !== undefined) parts.push(`"${name}":${JSON.stringify(value)}`);
  }
  for (const [name, value] of own) parts.push(`"${name}":${value}`);
  return `{${parts.join()}}`;
}

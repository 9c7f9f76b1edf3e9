import { performance } from 'node:perf_hooks';
import type { CacheEntry, EntityCache, Lookup } from '../cache/index.js';
import type { Requirements } from '../consistency/index.js';
import type { Json, JsonObject } from '../lib/json.js';
import type { SingleFlight } from '../lib/single-flight.js';
import type { PlanPath } from '../planning/index.js';
import type { Fetcher, SubgraphResult } from '../subgraph/index.js';
import { copyOf } from './deep-merge.js';
import {
  answerFor,
  distribute,
  type EntityAnswer,
  type EntityCall,
  type EntityGroup,
  errorsOfPart,
  type GroupAnswer,
  groupCalls,
  holdsNull,
  type PendingCall,
  partOf,
} from './entity-batch.js';
import type { ExecutionContext } from './execution-context.js';
import { type FetchTrace, rounded } from './fetch-trace.js';
import { type MergedOperation, mergeOperations } from './merged-operation.js';
import { operationCache, type SubgraphOperation } from './subgraph-operation.js';

const MAX_MERGED = 1000;

/** What of the answer a request is for. */
interface About {
  readonly paths: readonly PlanPath[];
  readonly entities: number;
}

/**
 * Asks subgraphs what plans want of them, or takes it from the cache. Entity fetches of one request to one subgraph that come up in
 * the same turn of the event loop are merged: those that ask the same become one list of entities, the others stand beside
 * each other in one operation. They do not share a failure: what such a batch brings no entities for is asked again, call by call.
 */
export class SubgraphCalls {
  readonly #fetchers: ReadonlyMap<string, Fetcher>;
  readonly #flights: SingleFlight<SubgraphResult> | null;
  readonly #mergeFetches: boolean;
  readonly #cache: EntityCache | null;
  readonly #merged = operationCache<MergedOperation>(MAX_MERGED);
  readonly #pending = new WeakMap<ExecutionContext, Map<string, PendingCall[]>>();
  /** What is to be sent at the end of this turn of the event loop, of all requests. */
  #due: (() => void)[] = [];

  constructor(
    fetchers: ReadonlyMap<string, Fetcher>,
    flights: SingleFlight<SubgraphResult> | null,
    mergeFetches: boolean,
    cache: EntityCache | null,
  ) {
    this.#fetchers = fetchers;
    this.#flights = flights;
    this.#mergeFetches = mergeFetches;
    this.#cache = cache;
  }

  /** Whether there is a subgraph of this name. */
  has(subgraph: string): boolean {
    return this.#fetchers.has(subgraph);
  }

  async ask(run: ExecutionContext, operation: SubgraphOperation, path: PlanPath): Promise<SubgraphResult> {
    const variables = variableText(run, operation, []);
    const about = { paths: [path], entities: 0 };
    const send = () => this.#send(run, operation, variables, about);
    const { cache } = operation;
    if (!this.#cache || !cache || !run.requirements) return send();
    const key = keyStart(run, operation) + variables;
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

  askEntities(run: ExecutionContext, call: EntityCall): Promise<EntityAnswer> {
    const { subgraph } = call.operation;
    return new Promise((answer, fail) => {
      if (!this.#mergeFetches) {
        void this.#flush(run, [{ ...call, answer, fail }]);
        return;
      }
      const pending = this.#pending.get(run) ?? new Map<string, PendingCall[]>();
      this.#pending.set(run, pending);
      const calls = pending.get(subgraph);
      if (calls) calls.push({ ...call, answer, fail });
      else {
        const started = [{ ...call, answer, fail }];
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

  /** Answers every call, whatever happens: nobody awaits this method. */
  async #flush(run: ExecutionContext, calls: readonly PendingCall[]): Promise<void> {
    try {
      const groups = groupCalls(calls);
      const paths = calls.map(({ path }) => path);
      const answers =
        this.#cache && run.requirements && groups.some(({ operation }) => operation.cache)
          ? await this.#throughCache(this.#cache, run, run.requirements, groups, paths)
          : await this.#fetchGroups(run, groups, paths);
      groups.forEach((group, i) => {
        distribute(group, answers[i] as EntityAnswer);
      });
    } catch (error) {
      for (const { fail } of calls) fail(error);
    }
  }

  /** What the cache has is not asked for; what is being fetched for somebody else is waited for. */
  async #throughCache(
    cache: EntityCache,
    run: ExecutionContext,
    requirements: Requirements,
    groups: readonly EntityGroup[],
    paths: readonly PlanPath[],
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
      results.forEach(({ entities, errors, positionsOf }, n) => {
        const i = asked[n] as number;
        const indices = wanted[i] as readonly number[];
        const answer = answers[i] as (typeof answers)[number];
        const plan = groups[i]?.operation.cache;
        indices.forEach((index, place) => {
          if (answer.entities) answer.entities[index] = entities?.[place];
          if (!plan || !entities || errors.length > 0) return;
          const entry = cache.entryOf(plan, entities[place], positionsOf(place));
          if (entry) fetched[i]?.set(index, this.#keep(cache, run, entry));
        });
        // Others wait for these, and not for what this request waits for.
        lookups[i]?.release(indices, fetched[i] as Map<number, CacheEntry>);
        if (errors.length > 0) answer.errors = [...answer.errors, ...errorsOfPart({ entities, errors }, indices)];
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

  /** Marks the result as outdated if the entry was invalidated after it was read. */
  #keep(cache: EntityCache, run: ExecutionContext, entry: CacheEntry): CacheEntry {
    if (cache.isOutdated(entry)) run.outdated = true;
    return entry;
  }

  /** Fetches groups in one request; what it brings no entities for is asked again, call by call. */
  async #fetchGroups(
    run: ExecutionContext,
    groups: readonly EntityGroup[],
    paths: readonly PlanPath[],
  ): Promise<GroupAnswer[]> {
    const { answers, isFinal } = await this.#fetchOnce(run, groups, paths);
    const isBatch = groups.length > 1 || groups.some(({ members }) => members.length > 1);
    if (!isBatch || isFinal || run.cancellation?.signal.aborted) return answers;
    if (answers.every(({ entities }) => entities)) return answers;
    return Promise.all(
      answers.map((answer, i) => {
        const { entities, errors } = answer;
        if (!entities) return this.#askAgain(run, groups[i] as EntityGroup);
        // An error without a place is about what failed, which is asked again; this group is whole.
        const isWhole = !entities.some((entity) => holdsNull(entity));
        return isWhole ? { ...answer, errors: errors.filter(({ index }) => index !== null) } : answer;
      }),
    );
  }

  async #fetchOnce(run: ExecutionContext, groups: readonly EntityGroup[], paths: readonly PlanPath[]) {
    const { operation, names } = this.#operationOf(groups);
    const own = groups.flatMap(({ representations, contextual }, i) =>
      [['representations', `[${representations.join()}]`] as const, ...contextual].map(
        ([name, value]) => [names?.[i]?.get(name) ?? name, value] as const,
      ),
    );
    const entities = groups.reduce((sum, { representations }) => sum + representations.length, 0);
    const result = await this.#send(run, operation, variableText(run, operation, own), { paths, entities });
    const answers = groups.map((group, i) => answerFor(group, names ? `_${i}` : '_entities', result));
    return { answers, isFinal: result.isFinal ?? false };
  }

  /**
   * Asks for each call of a group alone, all at once. These are queries, each is sent once more at most, and their number is that of
   * the plan's fetches; each has SUBGRAPH_TIMEOUT again, so that after a batch that timed out the fast ones answer.
   */
  async #askAgain(run: ExecutionContext, group: EntityGroup): Promise<GroupAnswer> {
    const entities: (Json | undefined)[] = group.representations.map(() => undefined);
    const positions: ReturnType<GroupAnswer['positionsOf']>[] = [];
    const failed: { readonly answer: GroupAnswer; readonly indices: readonly number[] }[] = [];
    const asked = group.members.map(async ({ call, indices }) => {
      const { operation, contextual, path } = call;
      const representations = indices.map((index) => group.representations[index] as string);
      const alone = { operation, contextual, representations, members: [] };
      const [answer] = (await this.#fetchOnce(run, [alone], [path])).answers as [GroupAnswer];
      if (answer.errors.length > 0) failed.push({ answer, indices });
      indices.forEach((index, place) => {
        const entity = answer.entities?.[place];
        if (entity === undefined || entities[index] !== undefined) return;
        entities[index] = entity;
        positions[index] = answer.positionsOf(place);
      });
    });
    await Promise.all(asked);
    return {
      entities,
      // Another call may have brought an entity that this one failed to bring.
      errors: failed.flatMap(({ answer, indices }) =>
        errorsOfPart(answer, indices).filter(
          ({ index }) => answer.entities !== null || index === null || entities[index] === undefined,
        ),
      ),
      positionsOf: (index) => positions[index],
    };
  }

  /** One operation for groups, and what their own variables are called in it where it is not that of a single group. */
  #operationOf(groups: readonly EntityGroup[]): {
    readonly operation: SubgraphOperation;
    readonly names: MergedOperation['variableNames'] | null;
  } {
    const [first] = groups as [EntityGroup];
    if (groups.length === 1) return { operation: first.operation, names: null };
    const key = groups.map(({ operation }) => operation.id).join();
    let merged = this.#merged.get(key);
    if (!merged) {
      merged = mergeOperations(groups.map(({ operation }) => operation));
      this.#merged.set(key, merged);
    }
    return { operation: merged, names: merged.variableNames };
  }

  async #send(
    run: ExecutionContext,
    operation: SubgraphOperation,
    variables: string,
    about: About,
  ): Promise<SubgraphResult> {
    const { headers, credentials, cancellation, traces } = run;
    const { subgraph, repeatable } = operation;
    const signal = cancellation?.signal ?? null;
    if (signal?.aborted) return {};
    const send = async (signal: AbortSignal | null) => {
      const body = `${operation.start}${variables}}`;
      const sentAt = performance.now();
      const fetcher = this.#fetchers.get(subgraph) as Fetcher;
      return { ...(await fetcher({ body, headers, repeatable, signal })), sentAt };
    };
    const flights = repeatable && credentials !== null ? this.#flights : null;
    const key = flights ? partsKey(operation.id, `${this.#cache?.epoch ?? 0} ${credentials}`) + variables : '';
    const maxStalenessMs = run.requirements?.maxStalenessMs ?? Number.POSITIVE_INFINITY;
    const joins = flights?.isJoinable(key, maxStalenessMs) ?? false;
    const started = traces ? performance.now() : 0;
    const result = flights
      ? ((await flights.run(key, (flight) => send(flight.signal), cancellation, maxStalenessMs)) ?? {})
      : await send(repeatable ? signal : null);
    if (!result.plain) run.plain = false;
    // The result says when it was sent: a fetch that was joined, before this request asked for it.
    const { positions, invalidations, bytes = 0, errors = [], sentAt = 0 } = result;
    if (positions) run.observed.push({ subgraph, positions, invalidations, at: sentAt });
    traces?.push({
      ...traceOf(subgraph, about),
      shared: joins,
      startMs: started,
      durationMs: rounded(performance.now() - started),
      positions: Object.fromEntries(positions ?? []),
      bytes,
      errors: errors.length,
    });
    return result;
  }

  #traceHits(
    { traces }: ExecutionContext,
    { subgraph }: SubgraphOperation,
    about: About,
    entries: readonly CacheEntry[],
  ): void {
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

/** A copy of a result for another waiter, which changes its data. */
export function copyOfResult(result: SubgraphResult): SubgraphResult {
  return { ...result, data: copyOf(result.data) };
}

/** A key made of an id of a fixed length and a text; whatever is put behind it, keys of different parts differ. */
function partsKey(id: string, text: string): string {
  return `${id}${text.length} ${text}`;
}

function keyStart(run: ExecutionContext, { id, cache }: SubgraphOperation): string {
  return partsKey(id, cache?.isPrivate ? run.reader : '');
}

/** What each entity of a group is kept under. */
function entityKeys(run: ExecutionContext, { operation, contextual, representations }: EntityGroup): string[] {
  const start = keyStart(run, operation) + variableText(run, operation, contextual);
  return representations.map((representation) => start + representation);
}

function readEntry(run: ExecutionContext, { text }: CacheEntry): Json {
  if (text.includes('\\')) run.plain = false;
  return JSON.parse(text);
}

/** The variables that an operation uses, as JSON: the client's, then those of the plan. */
function variableText(
  { variables }: ExecutionContext,
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

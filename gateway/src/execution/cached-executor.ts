import { performance } from 'node:perf_hooks';
import type { CacheEntry, CachePlan, EntityCache, Lookup } from '../cache/index.js';
import type { Requirements } from '../consistency/index.js';
import type { Json, JsonObject } from '../lib/json.js';
import type { PlanPath } from '../planning/index.js';
import type { SubgraphResult } from '../subgraph/index.js';
import { CachedBatch } from './cached-batch.js';
import type { BatchResult, EntityBatch } from './entity-batch.js';
import type { ExecutionContext } from './execution-context.js';
import type { Executor, RootFetch } from './executor.js';
import { traceOf } from './fetch-trace.js';
import { keyOfParts, type SubgraphOperation, variablesOf } from './subgraph-operation.js';

/**
 * Serves fetches from the cache, and passes what is missing to another executor. It waits for entities that another request of this
 * gateway is fetching. Without requirements, and for operations without a cache plan, it passes fetches on unchanged.
 */
export class CachedExecutor implements Executor {
  readonly #executor: Executor;
  readonly #cache: EntityCache;

  constructor(executor: Executor, cache: EntityCache) {
    this.#executor = executor;
    this.#cache = cache;
  }

  has(subgraph: string): boolean {
    return this.#executor.has(subgraph);
  }

  fetch(context: ExecutionContext, fetch: RootFetch): Promise<SubgraphResult> {
    const { requirements } = context;
    const { cache: plan } = fetch.operation;
    return requirements && plan
      ? this.#fetchRoot(context, requirements, plan, fetch)
      : this.#executor.fetch(context, fetch);
  }

  fetchEntities(
    context: ExecutionContext,
    batches: readonly EntityBatch[],
    paths: readonly PlanPath[],
  ): Promise<readonly BatchResult[]> {
    const { requirements } = context;
    return requirements && batches.some(({ operation }) => operation.cache)
      ? this.#fetchBatches(context, requirements, batches, paths)
      : this.#executor.fetchEntities(context, batches, paths);
  }

  async #fetchRoot(
    context: ExecutionContext,
    requirements: Requirements,
    plan: CachePlan,
    fetch: RootFetch,
  ): Promise<SubgraphResult> {
    const { operation, variables, path } = fetch;
    const key = keyStart(context, operation) + variables;
    const lookup = await this.#cache.lookUp(operation.subgraph, [key], requirements);
    const fetched = new Map<number, CacheEntry>();
    try {
      const hit = lookup.found[0] ?? (await lookup.awaited.get(0));
      if (hit) {
        traceHits(context, operation, [path], 0, [hit]);
        return { data: readEntry(context, hit) as JsonObject };
      }
      const result = await this.#executor.fetch(context, fetch);
      const entry = result.errors || !result.data ? null : this.#cache.entryOf(plan, result.data, result.positions);
      if (entry) {
        fetched.set(0, entry);
        this.#noteOutdated(context, entry);
      }
      return result;
    } finally {
      lookup.settle(fetched);
    }
  }

  async #fetchBatches(
    context: ExecutionContext,
    requirements: Requirements,
    batches: readonly EntityBatch[],
    paths: readonly PlanPath[],
  ): Promise<BatchResult[]> {
    const keys = batches.map((batch) => ({
      subgraph: batch.operation.subgraph,
      keys: batch.operation.cache ? entityKeys(context, batch) : [],
    }));
    const lookups = await this.#cache.lookUpAll(keys, requirements);
    const cached = batches.map((batch, i) => new CachedBatch(batch, lookups[i] as Lookup));
    try {
      const awaited = cached.flatMap((batch) => batch.awaitOthers());
      const missing = this.#fetchParts(
        context,
        cached.map((batch) => [batch, batch.missing()] as const),
        paths,
      );
      await Promise.all([missing, ...awaited]);
      // Other requests failed to fetch these, or took too long.
      await this.#fetchParts(
        context,
        cached.map((batch) => [batch, batch.late] as const),
        paths,
      );
    } finally {
      for (const batch of cached) batch.settle();
    }
    return cached.map((batch) => {
      const { operation, representations } = batch.batch;
      const hits = batch.hits();
      if (hits.length > 0) traceHits(context, operation, paths, representations.length, hits);
      return batch.result((entry) => readEntry(context, entry));
    });
  }

  /** Fetches parts of batches together, and adds the results to their batches. */
  async #fetchParts(
    context: ExecutionContext,
    all: readonly (readonly [batch: CachedBatch, indices: readonly number[]])[],
    paths: readonly PlanPath[],
  ): Promise<void> {
    const parts = all.filter(([, indices]) => indices.length > 0);
    if (parts.length === 0) return;
    const results = await this.#executor.fetchEntities(
      context,
      parts.map(([batch, indices]) => batch.part(indices)),
      paths,
    );
    for (const [n, [batch, indices]] of parts.entries()) {
      for (const entry of batch.add(indices, results[n] as BatchResult, this.#cache))
        this.#noteOutdated(context, entry);
    }
  }

  /** Marks the execution as outdated if the entry was invalidated after it was read. */
  #noteOutdated(context: ExecutionContext, entry: CacheEntry): void {
    if (this.#cache.isOutdated(entry)) context.outdated = true;
  }
}

function keyStart({ reader }: ExecutionContext, { id, cache }: SubgraphOperation): string {
  return keyOfParts(id, cache?.isPrivate ? reader : '');
}

/** The cache keys of a batch's entities. */
function entityKeys(context: ExecutionContext, { operation, contextual, representations }: EntityBatch): string[] {
  const start = keyStart(context, operation) + variablesOf(operation, context.variables, contextual);
  return representations.map((representation) => start + representation);
}

function readEntry(context: ExecutionContext, { text }: CacheEntry): Json {
  if (text.includes('\\')) context.plain = false;
  return JSON.parse(text);
}

function traceHits(
  { traces }: ExecutionContext,
  { subgraph }: SubgraphOperation,
  paths: readonly PlanPath[],
  entities: number,
  hits: readonly CacheEntry[],
): void {
  if (!traces) return;
  // The clock of another gateway, which may have stored them, may be ahead.
  const cacheAgeMs = Math.max(0, Date.now() - Math.min(...hits.map(({ storedAt }) => storedAt)));
  const trace = traceOf(subgraph, paths, entities);
  traces.push({ ...trace, startMs: performance.now(), cached: hits.length, cacheAgeMs });
}

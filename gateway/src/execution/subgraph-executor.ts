import { performance } from 'node:perf_hooks';
import type { EntityCache } from '../cache/index.js';
import { withCause } from '../lib/error-cause.js';
import type { Json } from '../lib/json.js';
import type { SingleFlight } from '../lib/single-flight.js';
import type { PlanPath } from '../planning/index.js';
import type { SubgraphClient, SubgraphResponse, SubgraphResult } from '../subgraph/index.js';
import { copyOf } from './deep-merge.js';
import { type BatchResult, containsNull, type EntityBatch, errorsInBatch, readBatchResult } from './entity-batch.js';
import type { ExecutionContext } from './execution-context.js';
import type { Executor, RootFetch } from './executor.js';
import { rounded, traceOf } from './fetch-trace.js';
import { type MergedOperation, mergeOperations } from './merged-operation.js';
import { keyOfParts, operationCache, type SubgraphOperation, variablesOf } from './subgraph-operation.js';

const MAX_MERGED = 1000;

/** Sends one operation to a subgraph. */
export type Send = SubgraphClient['execute'];

/**
 * Sends fetches to subgraphs. Equal queries of equal clients that are in flight at the same time are sent once. Batches that are fetched
 * together are merged into one operation; if it brings no entities for a batch, each fetch of the batch is sent again alone.
 */
export class SubgraphExecutor implements Executor {
  readonly #sends: ReadonlyMap<string, Send>;
  readonly #flights: SingleFlight<SubgraphResult> | null;
  readonly #cache: Pick<EntityCache, 'epoch'> | null;
  readonly #merged = operationCache<MergedOperation>(MAX_MERGED);

  /**
   * @param sends by the subgraph's name
   * @param flights null when equal queries are not deduplicated
   * @param cache its epoch: a fetch in flight is joined only by requests of the same epoch
   */
  constructor(
    sends: ReadonlyMap<string, Send>,
    flights: SingleFlight<SubgraphResult> | null,
    cache: Pick<EntityCache, 'epoch'> | null,
  ) {
    this.#sends = sends;
    this.#flights = flights;
    this.#cache = cache;
  }

  has(subgraph: string): boolean {
    return this.#sends.has(subgraph);
  }

  fetch(context: ExecutionContext, { operation, variables, path }: RootFetch): Promise<SubgraphResult> {
    return this.#fetch(context, operation, variables, [path], 0);
  }

  /** Fetches batches with one operation, and retries those without entities. */
  async fetchEntities(
    context: ExecutionContext,
    batches: readonly EntityBatch[],
    paths: readonly PlanPath[],
  ): Promise<BatchResult[]> {
    const { results, isFinal } = await this.#fetchMerged(context, batches, paths);
    const isMerged = batches.length > 1 || batches.some(({ fetches }) => fetches.length > 1);
    if (!isMerged || isFinal || context.cancellation?.signal.aborted) return results;
    if (results.every(({ entities }) => entities)) return results;
    return Promise.all(
      results.map((result, i) => {
        const { entities, errors } = result;
        if (!entities) return this.#retry(context, batches[i] as EntityBatch);
        // This batch is complete: an error without an index is about a batch that failed, which is retried.
        const isComplete = !entities.some((entity) => containsNull(entity));
        return isComplete ? { ...result, errors: errors.filter(({ index }) => index !== null) } : result;
      }),
    );
  }

  async #fetchMerged(context: ExecutionContext, batches: readonly EntityBatch[], paths: readonly PlanPath[]) {
    const { operation, names } = this.#operationOf(batches);
    const own = batches.flatMap(({ representations, contextual }, i) =>
      [['representations', `[${representations.join()}]`] as const, ...contextual].map(
        ([name, value]) => [names?.[i]?.get(name) ?? name, value] as const,
      ),
    );
    const entities = batches.reduce((sum, { representations }) => sum + representations.length, 0);
    const result = await this.#fetch(
      context,
      operation,
      variablesOf(operation, context.variables, own),
      paths,
      entities,
    );
    const results = batches.map((batch, i) => readBatchResult(batch, names ? `_${i}` : '_entities', result));
    return { results, isFinal: result.isFinal ?? false };
  }

  /** One operation for batches, and the names of their own variables in it; null for a single batch, which keeps them. */
  #operationOf(batches: readonly EntityBatch[]): {
    readonly operation: SubgraphOperation;
    readonly names: MergedOperation['variableNames'] | null;
  } {
    const [first] = batches as [EntityBatch];
    if (batches.length === 1) return { operation: first.operation, names: null };
    const key = batches.map(({ operation }) => operation.id).join();
    let merged = this.#merged.get(key);
    if (!merged) {
      merged = mergeOperations(batches.map(({ operation }) => operation));
      this.#merged.set(key, merged);
    }
    return { operation: merged, names: merged.variableNames };
  }

  /**
   * Sends each fetch of a batch alone, all at once. They are queries, each is sent only once more, and there are as many as the plan has
   * fetches. Each has SUBGRAPH_TIMEOUT again, so that after a batch that timed out the fast ones succeed.
   */
  async #retry(context: ExecutionContext, { representations: all, fetches }: EntityBatch): Promise<BatchResult> {
    const entities: (Json | undefined)[] = all.map(() => undefined);
    const positions: ReturnType<BatchResult['positionsOf']>[] = [];
    const failed: { readonly result: BatchResult; readonly indices: readonly number[] }[] = [];
    const retries = fetches.map(async ({ fetch: { operation, contextual, path }, indices }) => {
      const representations = indices.map((index) => all[index] as string);
      const alone = { operation, contextual, representations, fetches: [] };
      const [result] = (await this.#fetchMerged(context, [alone], [path])).results as [BatchResult];
      if (result.errors.length > 0) failed.push({ result, indices });
      indices.forEach((index, place) => {
        const entity = result.entities?.[place];
        if (entity === undefined || entities[index] !== undefined) return;
        entities[index] = entity;
        positions[index] = result.positionsOf(place);
      });
    });
    await Promise.all(retries);
    return {
      entities,
      // An entity that one fetch failed to get may come from another one.
      errors: failed.flatMap(({ result, indices }) =>
        errorsInBatch(result, indices).filter(
          ({ index }) => result.entities !== null || index === null || entities[index] === undefined,
        ),
      ),
      positionsOf: (index) => positions[index],
    };
  }

  /** Sends one operation or joins it in flight, and records the observed positions and the trace. */
  async #fetch(
    context: ExecutionContext,
    operation: SubgraphOperation,
    variables: string,
    paths: readonly PlanPath[],
    entities: number,
  ): Promise<SubgraphResult> {
    const { headers, credentials, cancellation, traces } = context;
    const { subgraph, repeatable } = operation;
    const signal = cancellation?.signal ?? null;
    if (signal?.aborted) return {};
    const send = async (signal: AbortSignal | null) => {
      const body = `${operation.start}${variables}}`;
      const sentAt = performance.now();
      const response = (this.#sends.get(subgraph) as Send)({ body, headers, repeatable, signal });
      const result = isStream(response) ? refusedStream(subgraph) : await response;
      return { ...result, sentAt };
    };
    const flights = repeatable && credentials !== null ? this.#flights : null;
    const key = flights ? keyOfParts(operation.id, `${this.#cache?.epoch ?? 0} ${credentials}`) + variables : '';
    const maxStalenessMs = context.requirements?.maxStalenessMs ?? Number.POSITIVE_INFINITY;
    const joins = flights?.isJoinable(key, maxStalenessMs) ?? false;
    const started = traces ? performance.now() : 0;
    const result = flights
      ? ((await flights.run(key, (flight) => send(flight.signal), cancellation, maxStalenessMs)) ?? {})
      : await send(repeatable ? signal : null);
    if (!result.plain) context.plain = false;
    // A fetch that was joined in flight was sent before this request started it.
    const { positions, invalidations, bytes = 0, errors = [], sentAt = 0 } = result;
    if (positions) context.observed.push({ subgraph, positions, invalidations, at: sentAt });
    traces?.push({
      ...traceOf(subgraph, paths, entities),
      shared: joins,
      startMs: started,
      durationMs: rounded(performance.now() - started),
      positions: Object.fromEntries(positions ?? []),
      bytes,
      errors: errors.length,
    });
    return result;
  }
}

function isStream(response: SubgraphResponse): response is AsyncIterable<SubgraphResult> {
  return Symbol.asyncIterator in response;
}

/** The result that replaces a stream: an operation of a plan has one result. */
function refusedStream(subgraph: string): SubgraphResult {
  const message = `The subgraph "${subgraph}" returned a stream of results where the gateway requires one result.`;
  const extensions = withCause({ code: 'INVALID_SUBGRAPH_RESPONSE' }, message);
  return { errors: [{ message, extensions }], isFinal: true };
}

/** Copies a result for another waiter, which changes its data. */
export function copyOfResult(result: SubgraphResult): SubgraphResult {
  return { ...result, data: copyOf(result.data) };
}

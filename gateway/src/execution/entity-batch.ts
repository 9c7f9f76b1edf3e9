import type { ReadPosition } from '@tributary/consistency';
import { withCause } from '../lib/error-cause.js';
import { MAX_ERRORS } from '../lib/error-list.js';
import { isObject, type Json } from '../lib/json.js';
import type { PlanPath } from '../planning/index.js';
import type { SubgraphError, SubgraphResult } from '../subgraph/index.js';
import { copyOf } from './deep-merge.js';
import type { SubgraphOperation } from './subgraph-operation.js';

/** One fetch of entities: a fetch node of a plan, with the representations that one request has for it. */
export interface EntityFetch {
  readonly operation: SubgraphOperation;
  /** JSON, each different from the others. */
  readonly representations: readonly string[];
  /** Arguments from a context (@fromContext): the variable's name and its value as JSON. */
  readonly contextual: readonly (readonly [name: string, value: string])[];
  /** The path of the response that it is for. */
  readonly path: PlanPath;
}

/** The result of a fetch of entities. */
export interface EntityResult {
  /** One for each representation; null when the whole fetch failed. */
  readonly entities: readonly (Json | undefined)[] | null;
  readonly errors: readonly EntityError[];
}

export interface EntityError {
  readonly error: SubgraphError;
  /** The index of the representation that it is about; null when the subgraph does not say: any whose entity contains null. */
  readonly index: number | null;
  /** The path below the entity. */
  readonly below: readonly (string | number)[];
}

/** An entity fetch that waits for its result. */
export interface PendingFetch extends EntityFetch {
  readonly resolve: (result: EntityResult) => void;
  /** Rejects it, for a reason that is a fault of the gateway. */
  readonly reject: (error: unknown) => void;
}

/** Entity fetches that differ only in their representations, as one list of representations. */
export interface EntityBatch {
  readonly operation: SubgraphOperation;
  readonly contextual: EntityFetch['contextual'];
  /** JSON, each different from the others. */
  readonly representations: readonly string[];
  /** The fetches, each with the indices of its representations. */
  readonly fetches: readonly { readonly fetch: PendingFetch; readonly indices: readonly number[] }[];
}

/** The result of a batch, with the positions that the subgraph read it from. */
export interface BatchResult extends EntityResult {
  /** By the index of the representation; undefined when the subgraph reports none, or the entity comes from the cache. */
  readonly positionsOf: (index: number) => ReadonlyMap<string, ReadPosition> | undefined;
}

/** Groups fetches by operation and arguments from a context; a representation that several have is in its batch once. */
export function batchFetches(fetches: readonly PendingFetch[]): EntityBatch[] {
  const [only] = fetches as [PendingFetch];
  if (fetches.length === 1) {
    const { operation, contextual, representations } = only;
    const indices = representations.map((_, i) => i);
    return [{ operation, contextual, representations, fetches: [{ fetch: only, indices }] }];
  }
  const batches = new Map<string, BatchBuilder>();
  for (const fetch of fetches) {
    const key = `${fetch.operation.id} ${JSON.stringify(fetch.contextual)}`;
    const batch = batches.get(key) ?? new BatchBuilder(fetch);
    batches.set(key, batch);
    batch.add(fetch);
  }
  return [...batches.values()];
}

class BatchBuilder implements EntityBatch {
  readonly operation: SubgraphOperation;
  readonly contextual: EntityFetch['contextual'];
  readonly representations: string[] = [];
  readonly fetches: { fetch: PendingFetch; indices: number[] }[] = [];
  readonly #indices = new Map<string, number>();

  constructor({ operation, contextual }: EntityFetch) {
    this.operation = operation;
    this.contextual = contextual;
  }

  add(fetch: PendingFetch): void {
    const indices = fetch.representations.map((representation) => {
      let index = this.#indices.get(representation);
      if (index === undefined) {
        index = this.representations.push(representation) - 1;
        this.#indices.set(representation, index);
      }
      return index;
    });
    this.fetches.push({ fetch, indices });
  }
}

/** The part of a batch with some of its representations. */
export function partOfBatch(batch: EntityBatch, indices: readonly number[]): EntityBatch {
  if (indices.length === batch.representations.length && indices.every((index, place) => index === place)) return batch;
  const places = new Map(indices.map((index, place) => [index, place]));
  const fetches = batch.fetches.flatMap(({ fetch, indices: all }) => {
    const inPart = all.flatMap((index) => places.get(index) ?? []);
    return inPart.length > 0 ? [{ fetch, indices: inPart }] : [];
  });
  return { ...batch, representations: indices.map((index) => batch.representations[index] as string), fetches };
}

/** Reads the result of one batch from a subgraph's result, where it has a response name. */
export function readBatchResult(
  { operation, representations }: EntityBatch,
  name: string,
  { data, errors: reported = [], positions }: SubgraphResult,
): BatchResult {
  const value = isObject(data) ? data[name] : undefined;
  const entities = Array.isArray(value) && value.length === representations.length ? value : null;
  const errors: EntityError[] = [];
  if (!entities && value !== undefined && value !== null) {
    errors.push(invalidResponse(operation, 'returned another number of entities than the gateway requested'));
  }
  for (const error of reported) {
    const [field, index, ...below] = error.path ?? [];
    if (field !== undefined && field !== name && /^_(entities|\d+)$/.test(String(field))) continue;
    const isOfEntity = field === name && Number.isInteger(index) && representations[index as number] !== undefined;
    errors.push({ error, index: isOfEntity ? (index as number) : null, below: isOfEntity ? below : [] });
  }
  if (!entities) addMissingErrors(errors, operation, representations.length);
  return { entities, errors, positionsOf: () => positions };
}

/** Gives each representation an error when there are no entities at all: its own, or the first. */
function addMissingErrors(errors: EntityError[], operation: SubgraphOperation, count: number): void {
  const [first = invalidResponse(operation, 'returned none of the entities that the gateway requested')] = errors;
  if (errors.length === 0) errors.push(first);
  if (errors.some(({ index }) => index === null)) return;
  const withError = new Set(errors.map(({ index }) => index));
  for (let index = 0; index < count && errors.length <= MAX_ERRORS; index++) {
    if (!withError.has(index)) errors.push({ error: first.error, index, below: [] });
  }
}

function invalidResponse({ subgraph }: SubgraphOperation, what: string): EntityError {
  const message = `The subgraph "${subgraph}" ${what}.`;
  const extensions = withCause({ code: 'INVALID_SUBGRAPH_RESPONSE' }, message);
  return { error: { message, extensions }, index: null, below: [] };
}

/** Maps the errors of a part's result to the indices that its representations have in the whole batch. */
export function errorsInBatch({ entities, errors }: EntityResult, indices: readonly number[]): EntityError[] {
  const mapped: EntityError[] = [];
  let withNull: readonly number[] | undefined;
  for (const error of errors) {
    // The response lists no more.
    if (mapped.length > MAX_ERRORS) break;
    if (error.index !== null) {
      mapped.push({ ...error, index: indices[error.index] as number });
      continue;
    }
    withNull ??= indices.filter((_, place) => containsNull(entities?.[place])).slice(0, MAX_ERRORS);
    if (withNull.length === 0) mapped.push(error);
    for (const index of withNull) mapped.push({ ...error, index });
  }
  return mapped;
}

/** Deeper than any response that a client may request. */
const MAX_DEPTH = 200;

/** Whether a value is missing, or is or contains null: an error without a path may be about it. */
export function containsNull(value: Json | undefined, depth = 0): boolean {
  if (value === undefined || value === null) return true;
  if (typeof value !== 'object') return false;
  return depth > MAX_DEPTH || Object.values(value).some((each) => containsNull(each, depth + 1));
}

/** Resolves each fetch of a batch with its part of the result. All but the first get copies, because they change what they get. */
export function demultiplex({ fetches }: EntityBatch, { entities, errors }: EntityResult): void {
  fetches.forEach(({ fetch, indices }, nth) => {
    const places = errors.length > 0 ? new Map(indices.map((index, place) => [index, place])) : null;
    fetch.resolve({
      entities: entities && indices.map((index) => (nth === 0 ? entities[index] : copyOf(entities[index]))),
      errors: errors.flatMap((error) => {
        if (error.index === null) return [error];
        const place = places?.get(error.index);
        return place === undefined ? [] : [{ ...error, index: place }];
      }),
    });
  });
}

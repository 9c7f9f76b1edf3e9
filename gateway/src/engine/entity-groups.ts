import type { ResponsePath } from '@apollo/query-planner';
import type { ReadPosition } from '@tributary/shared/events/positions-header';
import type { SubgraphOperation } from './composed-operation.js';
import { copyOf } from './merge.js';
import { isObject, type Json, type SubgraphError, type SubgraphResult } from './types.js';

/** A plan's fetch of entities, with what it asks for in one request. */
export interface EntityCall {
  readonly operation: SubgraphOperation;
  /** JSON, each different from the others. */
  readonly representations: readonly string[];
  /** Arguments from a context (@fromContext): the variable's name and its value as JSON. */
  readonly contextual: readonly (readonly [name: string, value: string])[];
  readonly path: ResponsePath;
}

export interface EntityAnswer {
  /** One for each representation, or nothing when there is no answer. */
  readonly entities: readonly (Json | undefined)[] | null;
  readonly errors: readonly EntityError[];
}

export interface EntityError {
  readonly error: SubgraphError;
  /** Which representation it is about; null when it is about the whole request. */
  readonly index: number | null;
  readonly below: readonly (string | number)[];
}

export interface PendingCall extends EntityCall {
  readonly answer: (answer: EntityAnswer) => void;
}

/** What calls ask that ask the same of different entities. */
export interface EntityGroup {
  readonly operation: SubgraphOperation;
  readonly contextual: EntityCall['contextual'];
  readonly representations: readonly string[];
}

/** The calls of a group, and which of its representations each asked for. */
export interface CallGroup extends EntityGroup {
  readonly members: readonly { readonly call: PendingCall; readonly indices: readonly number[] }[];
}

/** A group's answer, and from which state the subgraph gave it. */
export interface GroupAnswer extends EntityAnswer {
  readonly positions: ReadonlyMap<string, ReadPosition> | undefined;
}

export function groupCalls(calls: readonly PendingCall[]): CallGroup[] {
  const [only] = calls as [PendingCall];
  if (calls.length === 1) {
    const { operation, contextual, representations } = only;
    return [
      { operation, contextual, representations, members: [{ call: only, indices: representations.map((_, i) => i) }] },
    ];
  }
  const groups = new Map<string, GroupMaker>();
  for (const call of calls) {
    const key = `${call.operation.id} ${JSON.stringify(call.contextual)}`;
    const group = groups.get(key) ?? new GroupMaker(call);
    groups.set(key, group);
    group.add(call);
  }
  return [...groups.values()];
}

class GroupMaker implements CallGroup {
  readonly operation: SubgraphOperation;
  readonly contextual: EntityCall['contextual'];
  readonly representations: string[] = [];
  readonly members: { call: PendingCall; indices: number[] }[] = [];
  readonly #known = new Map<string, number>();

  constructor({ operation, contextual }: EntityCall) {
    this.operation = operation;
    this.contextual = contextual;
  }

  add(call: PendingCall): void {
    const indices = call.representations.map((representation) => {
      let index = this.#known.get(representation);
      if (index === undefined) {
        index = this.representations.push(representation) - 1;
        this.#known.set(representation, index);
      }
      return index;
    });
    this.members.push({ call, indices });
  }
}

/** Of a subgraph's answer, what is for one group: what stands under a name. */
export function answerFor(
  { operation, representations }: EntityGroup,
  name: string,
  { data, errors: told = [], positions }: SubgraphResult,
): GroupAnswer {
  const given = isObject(data) ? data[name] : undefined;
  const entities = Array.isArray(given) && given.length === representations.length ? given : null;
  const errors: EntityError[] = [];
  if (!entities && given !== undefined && given !== null) {
    const message = `Subgraph "${operation.subgraph}" answered another number of entities than it was asked for.`;
    errors.push({ error: { message, extensions: { code: 'INVALID_SUBGRAPH_RESPONSE' } }, index: null, below: [] });
  }
  for (const error of told) {
    const [field, index, ...below] = error.path ?? [];
    if (field !== undefined && field !== name && /^_(entities|\d+)$/.test(String(field))) continue;
    const isPlace = typeof index === 'number';
    errors.push({ error, index: isPlace ? index : null, below: isPlace ? below : [] });
  }
  return { entities, errors, positions };
}

/** Gives each call of a group its share of the answer; each its own, for each changes it. */
export function distribute({ members }: CallGroup, { entities, errors }: EntityAnswer): void {
  members.forEach(({ call, indices }, nth) => {
    const places = errors.length > 0 ? new Map(indices.map((index, place) => [index, place])) : null;
    call.answer({
      entities: entities && indices.map((index) => (nth === 0 ? entities[index] : copyOf(entities[index]))),
      errors: errors.flatMap((error) => {
        if (error.index === null) return [error];
        const place = places?.get(error.index);
        return place === undefined ? [] : [{ ...error, index: place }];
      }),
    });
  });
}

import type { ReadPosition } from '@tributary/consistency';
import { withCause } from '../lib/error-cause.js';
import { MAX_ERRORS } from '../lib/error-list.js';
import { isObject, type Json } from '../lib/json.js';
import type { PlanPath } from '../planning/index.js';
import type { SubgraphError, SubgraphResult } from '../subgraph/index.js';
import { copyOf } from './deep-merge.js';
import type { SubgraphOperation } from './subgraph-operation.js';

/** A plan's fetch of entities, with what it asks for in one request. */
export interface EntityCall {
  readonly operation: SubgraphOperation;
  /** JSON, each different from the others. */
  readonly representations: readonly string[];
  /** Arguments from a context (@fromContext): the variable's name and its value as JSON. */
  readonly contextual: readonly (readonly [name: string, value: string])[];
  readonly path: PlanPath;
}

export interface EntityAnswer {
  /** One for each representation, or nothing when there is no answer. */
  readonly entities: readonly (Json | undefined)[] | null;
  readonly errors: readonly EntityError[];
}

export interface EntityError {
  readonly error: SubgraphError;
  /** Which representation it is about; null when the subgraph does not say: any in whose entity something is null. */
  readonly index: number | null;
  readonly below: readonly (string | number)[];
}

export interface PendingCall extends EntityCall {
  readonly answer: (answer: EntityAnswer) => void;
  /** The call failed for a reason that is no subgraph's. */
  readonly fail: (error: unknown) => void;
}

/** What calls ask that ask the same of different entities. */
export interface EntityGroup {
  readonly operation: SubgraphOperation;
  readonly contextual: EntityCall['contextual'];
  readonly representations: readonly string[];
  /** The calls, and which of the representations each asked for. */
  readonly members: readonly { readonly call: PendingCall; readonly indices: readonly number[] }[];
}

/** A group's answer, and from which state the subgraph gave it. */
export interface GroupAnswer extends EntityAnswer {
  /** By representation, where several requests made the answer; else the same for all. */
  readonly positionsOf: (index: number) => ReadonlyMap<string, ReadPosition> | undefined;
}

export function groupCalls(calls: readonly PendingCall[]): EntityGroup[] {
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

class GroupMaker implements EntityGroup {
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

/** The part of a group that asks for some of its representations. */
export function partOf(group: EntityGroup, indices: readonly number[]): EntityGroup {
  if (indices.length === group.representations.length && indices.every((index, place) => index === place)) return group;
  const places = new Map(indices.map((index, place) => [index, place]));
  const members = group.members.flatMap((member) => {
    const asked = member.indices.flatMap((index) => places.get(index) ?? []);
    return asked.length > 0 ? [{ ...member, indices: asked }] : [];
  });
  return { ...group, representations: indices.map((index) => group.representations[index] as string), members };
}

/** Of a subgraph's answer, what is for one group: what stands under a name. */
export function answerFor(
  { operation, representations }: EntityGroup,
  name: string,
  { data, errors: reported = [], positions }: SubgraphResult,
): GroupAnswer {
  const given = isObject(data) ? data[name] : undefined;
  const entities = Array.isArray(given) && given.length === representations.length ? given : null;
  const errors: EntityError[] = [];
  if (!entities && given !== undefined && given !== null) {
    errors.push(wrongAnswer(operation, 'returned another number of entities than the gateway requested'));
  }
  for (const error of reported) {
    const [field, index, ...below] = error.path ?? [];
    if (field !== undefined && field !== name && /^_(entities|\d+)$/.test(String(field))) continue;
    const isPlace = field === name && Number.isInteger(index) && representations[index as number] !== undefined;
    errors.push({ error, index: isPlace ? (index as number) : null, below: isPlace ? below : [] });
  }
  if (!entities) explainAll(errors, operation, representations.length);
  return { entities, errors, positionsOf: () => positions };
}

/** Where there are no entities at all, each representation has an error: its own, or the first. */
function explainAll(errors: EntityError[], operation: SubgraphOperation, count: number): void {
  const [first = wrongAnswer(operation, 'returned none of the entities that the gateway requested')] = errors;
  if (errors.length === 0) errors.push(first);
  if (errors.some(({ index }) => index === null)) return;
  const explained = new Set(errors.map(({ index }) => index));
  for (let index = 0; index < count && errors.length <= MAX_ERRORS; index++) {
    if (!explained.has(index)) errors.push({ error: first.error, index, below: [] });
  }
}

function wrongAnswer({ subgraph }: SubgraphOperation, what: string): EntityError {
  const message = `The subgraph "${subgraph}" ${what}.`;
  const extensions = withCause({ code: 'INVALID_SUBGRAPH_RESPONSE' }, message);
  return { error: { message, extensions }, index: null, below: [] };
}

/** The errors of a part's answer, by the indices that its representations have in the whole group. */
export function errorsOfPart({ entities, errors }: EntityAnswer, indices: readonly number[]): EntityError[] {
  const mapped: EntityError[] = [];
  let withNull: readonly number[] | undefined;
  for (const error of errors) {
    // The response lists no more.
    if (mapped.length > MAX_ERRORS) break;
    if (error.index !== null) {
      mapped.push({ ...error, index: indices[error.index] as number });
      continue;
    }
    withNull ??= indices.filter((_, place) => holdsNull(entities?.[place])).slice(0, MAX_ERRORS);
    if (withNull.length === 0) mapped.push(error);
    for (const index of withNull) mapped.push({ ...error, index });
  }
  return mapped;
}

/** No response that a client may ask for is deeper. */
const MAX_DEPTH = 200;

/** Whether something is null in a value, or it is not there at all: an error without a place may be about it. */
export function holdsNull(value: Json | undefined, depth = 0): boolean {
  if (value === undefined || value === null) return true;
  if (typeof value !== 'object') return false;
  return depth > MAX_DEPTH || Object.values(value).some((each) => holdsNull(each, depth + 1));
}

/** Gives each call of a group its share of the answer; each its own, for each changes it. */
export function distribute({ members }: EntityGroup, { entities, errors }: EntityAnswer): void {
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

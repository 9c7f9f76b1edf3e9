import type { ResponsePath } from '@apollo/query-planner';
import { LRUCache } from 'lru-cache';
import { compose, type SubgraphOperation } from './composed-operation.js';
import { rounded } from './explanation.js';
import { copyOf } from './merge.js';
import type { SharedFetches } from './shared-fetches.js';
import { type Fetcher, isObject, type Json, type Run, type SubgraphError, type SubgraphResult } from './types.js';

const MAX_COMPOSED = 1000;

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

interface PendingCall extends EntityCall {
  readonly answer: (answer: EntityAnswer) => void;
}

/** Calls that ask the same of different entities. */
interface Group {
  readonly operation: SubgraphOperation;
  readonly contextual: EntityCall['contextual'];
  readonly representations: string[];
  readonly members: { readonly call: PendingCall; readonly indices: readonly number[] }[];
}

/**
 * Sends what plans ask of subgraphs. Entity fetches of one request to one subgraph that come up in the same turn of the event
 * loop are merged: those that ask the same become one list of entities, the others stand beside each other in one operation.
 */
export class SubgraphCalls {
  readonly #fetchers: ReadonlyMap<string, Fetcher>;
  readonly #shared: SharedFetches;
  readonly #mergeFetches: boolean;
  readonly #composed = new LRUCache<string, SubgraphOperation>({ max: MAX_COMPOSED });
  readonly #pending = new WeakMap<Run, Map<string, PendingCall[]>>();
  /** What is to be sent at the end of this turn of the event loop, of all requests. */
  #due: (() => void)[] = [];

  constructor(fetchers: ReadonlyMap<string, Fetcher>, shared: SharedFetches, mergeFetches: boolean) {
    this.#fetchers = fetchers;
    this.#shared = shared;
    this.#mergeFetches = mergeFetches;
  }

  /** Whether there is a subgraph of this name. */
  has(subgraph: string): boolean {
    return this.#fetchers.has(subgraph);
  }

  ask(run: Run, operation: SubgraphOperation, path: ResponsePath): Promise<SubgraphResult> {
    return this.#send(run, operation, `${operation.start}${variableText(run, operation, [])}}`, [path], 0);
  }

  askEntities(run: Run, call: EntityCall): Promise<EntityAnswer> {
    const { subgraph } = call.operation;
    return new Promise((answer) => {
      if (!this.#mergeFetches) {
        this.#flush(run, [{ ...call, answer }]);
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
          this.#flush(run, started);
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
    const groups = grouped(calls);
    const operation = this.#operationOf(groups);
    const representations = (group: Group) => `[${group.representations.join()}]`;
    const [first] = groups as [Group];
    const own =
      groups.length === 1
        ? [['representations', representations(first)] as const, ...first.contextual]
        : groups.flatMap((group, i) => [
            [`representations_${i}`, representations(group)] as const,
            ...group.contextual.map(([name, value]) => [`${name}_${i}`, value] as const),
          ]);
    const count = groups.reduce((sum, group) => sum + group.representations.length, 0);
    const paths = calls.map(({ path }) => path);
    const body = `${operation.start}${variableText(run, operation, own)}}`;
    const result = await this.#send(run, operation, body, paths, count);
    groups.forEach((group, i) => {
      answerGroup(group, groups.length === 1 ? '_entities' : `_${i}`, result);
    });
  }

  #operationOf(groups: readonly Group[]): SubgraphOperation {
    const [first] = groups as [Group];
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
    paths: readonly ResponsePath[],
    entities: number,
  ): Promise<SubgraphResult> {
    const { headers, credentials, abandonment, traces } = run;
    if (abandonment?.happened) return {};
    const fetcher = this.#fetchers.get(subgraph) as Fetcher;
    const mayShare = repeatable && credentials !== null;
    const key = mayShare ? `${subgraph} ${credentials} ${body}` : '';
    const shared = mayShare && this.#shared.has(key);
    const started = traces ? performance.now() : 0;
    const result = mayShare
      ? await this.#shared.fetch(key, abandonment, (until) =>
          fetcher({ body, headers, repeatable, abandonment: until }),
        )
      : await fetcher({ body, headers, repeatable, abandonment: repeatable ? abandonment : null });
    if (!result.plain) run.plain = false;
    traces?.push({
      subgraph,
      paths: paths.map((path) => path.join('.')),
      entities,
      shared,
      startMs: started,
      durationMs: rounded(performance.now() - started),
      bytes: result.bytes ?? 0,
      errors: result.errors?.length ?? 0,
    });
    return result;
  }
}

function grouped(calls: readonly PendingCall[]): Group[] {
  const [only] = calls as [PendingCall];
  if (calls.length === 1) {
    const { operation, contextual, representations } = only;
    return [
      {
        operation,
        contextual,
        representations: [...representations],
        members: [{ call: only, indices: representations.map((_, i) => i) }],
      },
    ];
  }
  const groups = new Map<string, Group & { readonly known: Map<string, number> }>();
  for (const call of calls) {
    const key = `${call.operation.id} ${JSON.stringify(call.contextual)}`;
    let group = groups.get(key);
    if (!group) {
      const { operation, contextual } = call;
      group = { operation, contextual, representations: [], members: [], known: new Map() };
      groups.set(key, group);
    }
    const { known, representations } = group;
    const indices = call.representations.map((representation) => {
      let index = known.get(representation);
      if (index === undefined) {
        index = representations.push(representation) - 1;
        known.set(representation, index);
      }
      return index;
    });
    group.members.push({ call, indices });
  }
  return [...groups.values()];
}

/** Gives each call of a group its share of the answer; each its own, for each changes it. */
function answerGroup({ operation, representations, members }: Group, name: string, result: SubgraphResult): void {
  const given = isObject(result.data) ? result.data[name] : undefined;
  const found = Array.isArray(given) && given.length === representations.length ? given : null;
  const wrong: EntityError[] = [];
  if (!found && given !== undefined && given !== null) {
    const message = `Subgraph "${operation.subgraph}" answered another number of entities than it was asked for.`;
    wrong.push({ error: { message, extensions: { code: 'INVALID_SUBGRAPH_RESPONSE' } }, index: null, below: [] });
  }
  members.forEach(({ call, indices }, nth) => {
    const errors = [...wrong];
    const places = result.errors && new Map(indices.map((index, place) => [index, place]));
    for (const error of result.errors ?? []) {
      const [field, index, ...below] = error.path ?? [];
      if (field !== undefined && field !== name && /^_(entities|\d+)$/.test(String(field))) continue;
      const place = typeof index === 'number' ? places?.get(index) : null;
      if (place !== undefined) errors.push({ error, index: place, below: place === null ? [] : below });
    }
    const entities = found && indices.map((index) => (nth === 0 ? found[index] : copyOf(found[index])));
    call.answer({ entities, errors });
  });
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

import type { FetchNode, PlanNode, ResponsePath } from '@apollo/query-planner';
import { GraphQLError, type GraphQLErrorExtensions } from 'graphql';
import { rootNamesOf, type SubgraphOperation, type SubgraphOperations } from './composed-operation.js';
import { compileContext } from './contexts.js';
import { type EntityAnswer, type EntityCall, holdsNull } from './entity-groups.js';
import type { EntityKeys } from './entity-keys.js';
import { copyOf, mergeInto } from './merge.js';
import { collect, collectChains, collectPaths } from './places.js';
import { compileRepresentation } from './representations.js';
import { compileRewrites } from './rewrites.js';
import { withoutRootCondition } from './root-condition.js';
import type { SubgraphCalls } from './subgraph-calls.js';
import { tell } from './tell.js';
import type { TypeConditions } from './type-conditions.js';
import {
  isObject,
  type Json,
  type JsonObject,
  type Path,
  type Run,
  type SubgraphError,
  type SubgraphResult,
} from './types.js';

/** A node of a plan, compiled: runs on the values that it is about, all of one path. */
export type RunNode = (run: Run, at: Cursor) => Promise<void> | void;

/** Where a node works: the values at a path of the answer. Paths of errors are worked out only when there is an error. */
export interface Cursor {
  readonly path: ResponsePath;
  readonly values: readonly JsonObject[];
}

/** Compiles plans: what is left for each request is to run them. */
export class PlanCompiler {
  readonly #types: TypeConditions;
  readonly #calls: SubgraphCalls;
  readonly #operations: SubgraphOperations;

  readonly #keys: EntityKeys | null;

  /** @param keys where they are known, entities are sent only when a key of theirs is */
  constructor(
    types: TypeConditions,
    calls: SubgraphCalls,
    operations: SubgraphOperations,
    keys: EntityKeys | null = null,
  ) {
    this.#keys = keys;
    this.#operations = operations;
    this.#types = types;
    this.#calls = calls;
  }

  compile(plan: PlanNode): RunNode {
    return this.#compile(plan, hasContexts(plan));
  }

  /** @param apart an entity is copied to each of its places, for there it may have other fields: those of a context */
  #compile(node: PlanNode, apart: boolean): RunNode {
    switch (node.kind) {
      case 'Sequence': {
        const nodes = node.nodes.map((each) => this.#compile(each, apart));
        return async (run, at) => {
          for (const each of nodes) await each(run, at);
        };
      }
      case 'Parallel': {
        const nodes = node.nodes.map((each) => this.#compile(each, apart));
        return async (run, at) => {
          await Promise.all(nodes.map((each) => each(run, at)));
        };
      }
      case 'Flatten': {
        const inner = this.#compile(node.node, apart);
        const { path } = node;
        return (run, at) => {
          const values: JsonObject[] = [];
          for (const value of at.values) collect(value, path, 0, values);
          return values.length === 0 ? undefined : inner(run, { path: [...at.path, ...path], values });
        };
      }
      case 'Fetch':
        return node.requires ? this.#compileEntityFetch(node, apart) : this.#compileRootFetch(node);
      default:
        // Conditions are settled and @defer is taken out before planning.
        throw new Error(`A plan with a ${node.kind} node cannot be run.`);
    }
  }

  #operation(node: FetchNode): SubgraphOperation {
    if (this.#calls.has(node.serviceName)) return this.#operations.of(node);
    throw new Error(`The plan names a subgraph "${node.serviceName}" that is not there.`);
  }

  #compileRootFetch(node: FetchNode): RunNode {
    const operation = this.#operation(withoutRootCondition(node));
    const rewrite = compileRewrites(node.outputRewrites, this.#types);
    return async (run, at) => {
      const { data, errors = [] } = await this.#calls.ask(run, operation, at.path);
      if (errors.length > 0 || !isObject(data)) tellRootErrors(run, operation, { data, errors }, pathsTo(run, at.path));
      if (!isObject(data)) return;
      rewrite?.(data);
      for (const value of at.values) mergeInto(value, data, this.#types);
    };
  }

  #compileEntityFetch(node: FetchNode, apart: boolean): RunNode {
    const operation = this.#operation(node);
    const represent = compileRepresentation(
      node.requires ?? [],
      node.inputRewrites,
      this.#types,
      (typeName, isThere) => this.#keys?.isComplete(node.serviceName, typeName, isThere) ?? true,
    );
    const rewrite = compileRewrites(node.outputRewrites, this.#types);
    const ask = async (
      run: Run,
      { path, values }: Cursor,
      contextual: EntityCall['contextual'],
      pathsOf: () => Path[],
    ) => {
      const { texts, indices } = represent(values);
      if (texts.length === 0) return;
      const call = { operation, representations: texts, contextual, path };
      const { entities, errors } = await this.#calls.askEntities(run, call);
      if (errors.length > 0) tellErrors(run, operation.subgraph, { entities, errors }, indices, pathsOf());
      if (!entities) return;
      if (rewrite) this.#rewrite(values, entities, indices, rewrite);
      for (let place = 0; place < values.length; place++) {
        const received = entities[indices[place] as number];
        if (isObject(received))
          mergeInto(values[place] as JsonObject, apart ? copyOf(received) : received, this.#types);
      }
    };
    if (!node.contextRewrites) return (run, at) => ask(run, at, [], () => pathsTo(run, at.path));

    // Entities whose arguments from a context differ are asked for apart.
    const readContext = compileContext(node.contextRewrites, this.#types);
    return async (run, { path }) => {
      const chains: (readonly JsonObject[])[] = [];
      collectChains(run.data, path, 0, [], chains);
      const groups = new Map<string, { contextual: EntityCall['contextual']; places: number[] }>();
      chains.forEach((chain, place) => {
        const contextual = readContext(chain);
        const key = JSON.stringify(contextual);
        const group = groups.get(key);
        if (group) group.places.push(place);
        else groups.set(key, { contextual, places: [place] });
      });
      const asked = [...groups.values()].map(({ contextual, places }) => {
        const values = places.map((place) => chains[place]?.at(-1) as JsonObject);
        return ask(run, { path, values }, contextual, () => {
          const paths = pathsTo(run, path);
          return places.map((place) => paths[place] as Path);
        });
      });
      await Promise.all(asked);
    };
  }

  /** Rewrites what a subgraph gave, each entity once; one that does not say its type is of the type that was asked for. */
  #rewrite(
    values: Cursor['values'],
    entities: readonly (Json | undefined)[],
    indices: readonly number[],
    rewrite: (entity: JsonObject) => void,
  ): void {
    const done = new Set<number>();
    indices.forEach((index, place) => {
      const received = entities[index];
      if (done.has(index) || !isObject(received)) return;
      done.add(index);
      received.__typename ??= values[place]?.__typename;
      rewrite(received);
    });
  }
}

function hasContexts(node: PlanNode): boolean {
  switch (node.kind) {
    case 'Sequence':
    case 'Parallel':
      return node.nodes.some(hasContexts);
    case 'Flatten':
      return hasContexts(node.node);
    default:
      return node.kind === 'Fetch' && node.contextRewrites !== undefined;
  }
}

function pathsTo(run: Run, path: ResponsePath): Path[] {
  const paths: Path[] = [];
  collectPaths(run.data, path, 0, [], paths);
  return paths;
}

/** Errors of fields that have no result only because another field failed. */
const consequences = new WeakSet<GraphQLError>();

/** Whether an error only repeats that another one left the response without data. */
export function isConsequence(error: GraphQLError): boolean {
  return consequences.has(error);
}

/**
 * Tells the errors of root fields, at every place where the fields are. An error that names no field is told of each field in which
 * something is null; where there is no data at all, every field has an error of its own.
 */
function tellRootErrors(
  run: Run,
  operation: SubgraphOperation,
  { data, errors }: Pick<SubgraphResult, 'data' | 'errors'>,
  paths: readonly Path[],
): void {
  const { subgraph } = operation;
  const message = `Subgraph "${subgraph}" answered without data.`;
  const nothing: SubgraphError = { message, extensions: { code: 'INVALID_SUBGRAPH_RESPONSE' } };
  const told = errors && errors.length > 0 ? errors : [nothing];
  const names = rootNamesOf(operation);
  const affected = isObject(data) ? names.filter((name) => holdsNull(data[name])) : names;
  const explained = new Set<string>();
  const tellAt = (error: SubgraphError, below: Path | undefined, isConsequence = false): boolean => {
    if (!below) return tell(run.errors, present(error, subgraph, undefined));
    explained.add(String(below[0]));
    return paths.every((path) => {
      const presented = present(error, subgraph, [...path, ...below]);
      if (isConsequence) consequences.add(presented);
      return tell(run.errors, presented);
    });
  };
  for (const error of told) {
    const isLocated = error.path !== undefined && names.includes(String(error.path[0]));
    const places = isLocated ? [error.path] : affected.length > 0 ? affected.map((name) => [name]) : [undefined];
    if (!places.every((below) => tellAt(error, below))) return;
  }
  if (isObject(data)) return;
  // What an error says of one field says nothing of those beside it: a mutation among them may have taken effect.
  const lost: SubgraphError = {
    message: `Subgraph "${subgraph}" gave no result for this field, because another field of the request failed. A mutation may have taken effect.`,
  };
  for (const name of names) if (!explained.has(name)) tellAt(lost, [name], true);
}

/**
 * Tells an error of an entity at every place of the answer where that entity is; one that names no entity, where something in it is
 * null.
 */
function tellErrors(
  run: Run,
  subgraph: string,
  { entities, errors }: EntityAnswer,
  indices: readonly number[],
  paths: readonly Path[],
): void {
  const places = new Map<number, Path[]>();
  indices.forEach((index, place) => {
    const known = places.get(index);
    if (known) known.push(paths[place] as Path);
    else places.set(index, [paths[place] as Path]);
  });
  places.delete(-1);
  let withNull: number[] | undefined;
  for (const { error, index, below } of errors) {
    if (index === null) withNull ??= [...places.keys()].filter((each) => holdsNull(entities?.[each]));
    const affected = index === null ? (withNull ?? []) : [index];
    const at = affected.flatMap((each) => places.get(each) ?? []);
    if (at.length === 0 && index === null) at.push(places.values().next().value?.[0] as Path);
    for (const path of at) {
      if (!tell(run.errors, present(error, subgraph, [...path, ...below]))) return;
    }
  }
}

function present({ message, extensions }: SubgraphError, subgraph: string, path: Path | undefined): GraphQLError {
  // What tells how a service is built is not for clients.
  const { stacktrace, exception, ...shown } = (extensions ?? {}) as GraphQLErrorExtensions;
  return new GraphQLError(message || `Subgraph "${subgraph}" answered with an error.`, {
    path,
    extensions: { code: 'DOWNSTREAM_SERVICE_ERROR', ...shown, subgraph },
  });
}

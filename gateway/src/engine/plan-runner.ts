import type { FetchNode, PlanNode, ResponsePath } from '@apollo/query-planner';
import { GraphQLError } from 'graphql';
import { mergeInto } from './merge.js';
import { compileRepresentation } from './representations.js';
import { compileRewrites } from './rewrites.js';
import type { SharedFetches } from './shared-fetches.js';
import type { TypeConditions } from './type-conditions.js';
import {
  type Fetcher,
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

export interface PlanParts {
  readonly types: TypeConditions;
  readonly fetchers: ReadonlyMap<string, Fetcher>;
  readonly shared: SharedFetches;
}

export function compilePlan(node: PlanNode, parts: PlanParts): RunNode {
  switch (node.kind) {
    case 'Sequence': {
      const nodes = node.nodes.map((each) => compilePlan(each, parts));
      return async (run, at) => {
        for (const each of nodes) await each(run, at);
      };
    }
    case 'Parallel': {
      const nodes = node.nodes.map((each) => compilePlan(each, parts));
      return async (run, at) => {
        await Promise.all(nodes.map((each) => each(run, at)));
      };
    }
    case 'Flatten': {
      const inner = compilePlan(node.node, parts);
      const { path } = node;
      return (run, at) => {
        const values: JsonObject[] = [];
        for (const value of at.values) collect(value, path, 0, values);
        return values.length === 0 ? undefined : inner(run, { path: [...at.path, ...path], values });
      };
    }
    case 'Fetch':
      return compileFetch(node, parts);
    default:
      // Conditions are settled before planning, and the schema has no @defer.
      throw new Error(`A plan with a ${node.kind} node cannot be run.`);
  }
}

/** The objects at a path below a value, in the order of the answer; what is null or not there is left out. */
function collect(value: Json | undefined, path: ResponsePath, from: number, into: JsonObject[]): void {
  if (value === undefined || value === null) return;
  if (Array.isArray(value)) {
    const next = path[from] === '@' ? from + 1 : from;
    for (const element of value) collect(element, path, next, into);
  } else if (isObject(value)) {
    if (from === path.length) into.push(value);
    else collect(value[path[from] as string], path, from + 1, into);
  }
}

/** The same, but the paths at which they are. */
function collectPaths(value: Json | undefined, path: ResponsePath, from: number, here: Path, into: Path[]): void {
  if (value === undefined || value === null) return;
  if (Array.isArray(value)) {
    const next = path[from] === '@' ? from + 1 : from;
    value.forEach((element, i) => {
      collectPaths(element, path, next, [...here, i], into);
    });
  } else if (isObject(value)) {
    if (from === path.length) into.push(here);
    else collectPaths(value[path[from] as string], path, from + 1, [...here, path[from] as string], into);
  }
}

function compileFetch(node: FetchNode, parts: PlanParts): RunNode {
  const ask = compileRequest(node, parts);
  return node.requires ? compileEntityFetch(node, parts, ask) : compileRootFetch(node, parts, ask);
}

type Ask = (run: Run, representations: readonly JsonObject[] | null) => Promise<SubgraphResult>;

/** The request, of which only the variables are left to be filled in. */
function compileRequest(node: FetchNode, { fetchers, shared }: PlanParts): Ask {
  const fetcher = fetchers.get(node.serviceName);
  if (!fetcher) throw new Error(`The plan names a subgraph "${node.serviceName}" that is not there.`);
  const { operation: query, operationName } = node;
  const start = `${JSON.stringify({ query, operationName }).slice(0, -1)},"variables":`;
  const used = node.variableUsages ?? [];
  const repeatable = node.operationKind === 'query';
  return (run, representations) => {
    const variables: Record<string, unknown> = {};
    for (const name of used) {
      const value = run.variables[name];
      if (value !== undefined) variables[name] = value;
    }
    if (representations) variables.representations = representations;
    const body = `${start}${JSON.stringify(variables)}}`;
    const send = () => fetcher(body, run.headers, repeatable);
    if (!repeatable || run.credentials === null) return send();
    return shared.fetch(`${node.serviceName} ${run.credentials} ${body}`, send);
  };
}

function compileRootFetch(node: FetchNode, { types }: PlanParts, ask: Ask): RunNode {
  const rewrite = compileRewrites(node.outputRewrites, types);
  return async (run, at) => {
    const { data, errors } = await ask(run, null);
    if (errors)
      for (const error of errors)
        run.errors.push(present(error, node.serviceName, error.path && [...at.path, ...error.path]));
    if (!isObject(data)) return;
    rewrite?.(data);
    for (const value of at.values) mergeInto(value, data, types);
  };
}

function compileEntityFetch(node: FetchNode, { types }: PlanParts, ask: Ask): RunNode {
  const represent = compileRepresentation(node.requires ?? [], types);
  const rewriteInput = compileRewrites(node.inputRewrites, types);
  const rewriteOutput = compileRewrites(node.outputRewrites, types);
  return async (run, at) => {
    const representations: JsonObject[] = [];
    /** For each representation, the places in `at.values` of the entities that it stands for. */
    const places: number[][] = [];
    const known = new Map<string, number>();
    at.values.forEach((entity, place) => {
      const representation = represent(entity);
      if (typeof representation?.__typename !== 'string') return;
      rewriteInput?.(representation);
      const key = JSON.stringify(representation);
      const index = known.get(key);
      if (index !== undefined) {
        places[index]?.push(place);
        return;
      }
      known.set(key, representations.length);
      representations.push(representation);
      places.push([place]);
    });
    if (representations.length === 0) return;
    const { data, errors } = await ask(run, representations);
    if (errors) tellErrors(run, at, node.serviceName, errors, places);
    if (!isObject(data)) return;
    const entities = data._entities;
    if (!Array.isArray(entities) || entities.length !== representations.length) {
      const message = `Subgraph "${node.serviceName}" answered another number of entities than it was asked for.`;
      tellErrors(run, at, node.serviceName, [{ message, path: ['_entities', 0] }], places);
      return;
    }
    entities.forEach((received, index) => {
      if (!isObject(received)) return;
      received.__typename ??= at.values[places[index]?.[0] ?? 0]?.__typename;
      rewriteOutput?.(received);
      for (const place of places[index] ?? []) mergeInto(at.values[place] as JsonObject, received, types);
    });
  };
}

/** An error of an entity is told at every place of the answer where that entity is. */
function tellErrors(
  run: Run,
  at: Cursor,
  subgraph: string,
  errors: readonly SubgraphError[],
  places: readonly number[][],
): void {
  const paths: Path[] = [];
  collectPaths(run.data, at.path, 0, [], paths);
  for (const error of errors) {
    const [, index, ...below] = error.path ?? [];
    if (typeof index !== 'number') {
      // Of the whole request: told once, at the first place that it was for.
      run.errors.push(present(error, subgraph, paths[places[0]?.[0] ?? 0]));
      continue;
    }
    for (const place of places[index] ?? [])
      run.errors.push(present(error, subgraph, [...(paths[place] ?? []), ...below]));
  }
}

function present({ message, extensions }: SubgraphError, subgraph: string, path: Path | undefined): GraphQLError {
  return new GraphQLError(message || `Subgraph "${subgraph}" answered with an error.`, {
    path,
    extensions: { code: 'DOWNSTREAM_SERVICE_ERROR', ...extensions, subgraph },
  });
}

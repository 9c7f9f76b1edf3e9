import { isObject, type Json, type JsonObject, type Path } from '../lib/json.js';
import type { TypeConditions } from '../lib/type-conditions.js';
import type { FetchNode, PlanNode, PlanPath } from '../planning/index.js';
import { compileRewrites } from './data-rewrites.js';
import { copyOf, mergeInto } from './deep-merge.js';
import type { EntityFetch } from './entity-batch.js';
import type { EntityBatcher } from './entity-batcher.js';
import type { EntityKeys } from './entity-keys.js';
import type { ExecutionContext } from './execution-context.js';
import type { Executor } from './executor.js';
import { addEntityErrors, addRootErrors } from './fetch-errors.js';
import { collect, collectChains, collectPaths } from './flatten.js';
import { compileContext } from './from-context.js';
import { compileRepresentation } from './representations.js';
import { withoutRootCondition } from './root-condition.js';
import { type SubgraphOperation, type SubgraphOperations, variablesOf } from './subgraph-operation.js';

/** A node of a plan, compiled: runs on the values that it is about, all of one path. */
export type RunNode = (run: ExecutionContext, at: Cursor) => Promise<void> | void;

/** Where a node works: the values at a path of the answer. Paths of errors are worked out only when there is an error. */
export interface Cursor {
  readonly path: PlanPath;
  readonly values: readonly JsonObject[];
}

/** Compiles plans: what is left for each request is to run them. */
export class PlanCompiler {
  readonly #types: TypeConditions;
  readonly #executor: Executor;
  readonly #batcher: EntityBatcher;
  readonly #operations: SubgraphOperations;

  readonly #keys: EntityKeys | null;

  /** @param keys where they are known, entities are sent only when a key of theirs is */
  constructor(
    types: TypeConditions,
    executor: Executor,
    batcher: EntityBatcher,
    operations: SubgraphOperations,
    keys: EntityKeys | null = null,
  ) {
    this.#keys = keys;
    this.#operations = operations;
    this.#types = types;
    this.#executor = executor;
    this.#batcher = batcher;
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
    if (this.#executor.has(node.serviceName)) return this.#operations.of(node);
    throw new Error(`The plan names a subgraph "${node.serviceName}" that is not there.`);
  }

  #compileRootFetch(node: FetchNode): RunNode {
    const operation = this.#operation(withoutRootCondition(node));
    const rewrite = compileRewrites(node.outputRewrites, this.#types);
    return async (run, at) => {
      const variables = variablesOf(operation, run.variables, []);
      const { data, errors = [] } = await this.#executor.fetch(run, { operation, variables, path: at.path });
      if (errors.length > 0 || !isObject(data)) {
        addRootErrors(run.errors, operation, { data, errors }, pathsTo(run, at.path));
      }
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
      run: ExecutionContext,
      { path, values }: Cursor,
      contextual: EntityFetch['contextual'],
      pathsOf: () => Path[],
    ) => {
      const { texts, indices } = represent(values);
      if (texts.length === 0) return;
      const { entities, errors } = await this.#batcher.fetch(run, {
        operation,
        representations: texts,
        contextual,
        path,
      });
      if (errors.length > 0) {
        const paths = pathsOf();
        const places = indices.map((index, place) => ({
          index,
          path: paths[place] as Path,
          isOf: (condition: string) => this.#types.holds(condition, String(values[place]?.__typename)),
        }));
        addEntityErrors(run.errors, operation, { entities, errors }, places);
      }
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
      const groups = new Map<string, { contextual: EntityFetch['contextual']; places: number[] }>();
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

function pathsTo(run: ExecutionContext, path: PlanPath): Path[] {
  const paths: Path[] = [];
  collectPaths(run.data, path, 0, [], paths);
  return paths;
}

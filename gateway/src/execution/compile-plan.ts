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
import { addEntityErrors, addRootErrors, addUnfetched, type EntityOccurrence } from './fetch-errors.js';
import { collectAncestors, collectPaths, collectValues, compilePath } from './flatten.js';
import { compileContext } from './from-context.js';
import { compileRepresentations } from './representations.js';
import { withoutRootCondition } from './root-condition.js';
import { type SubgraphOperation, type SubgraphOperations, variablesOf } from './subgraph-operation.js';

/** A compiled node of a plan: executes it for the values at one path. */
export type RunNode = (context: ExecutionContext, at: Cursor) => Promise<void> | void;

/** The values that a node is executed for, and their path in the response. Only errors need the path of each value. */
export interface Cursor {
  readonly path: PlanPath;
  readonly values: readonly JsonObject[];
}

/** Compiles plans to functions, so that a request only runs them. */
export class PlanCompiler {
  readonly #types: TypeConditions;
  readonly #executor: Executor;
  readonly #batcher: EntityBatcher;
  readonly #operations: SubgraphOperations;
  readonly #keys: EntityKeys | null;

  /** @param keys with them, an entity is fetched only if it has a key of the subgraph */
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

  /** @param copies whether each occurrence of an entity gets a copy, because arguments from a context make its fields differ */
  #compile(node: PlanNode, copies: boolean): RunNode {
    switch (node.kind) {
      case 'Sequence': {
        const nodes = node.nodes.map((child) => this.#compile(child, copies));
        return async (context, at) => {
          for (const child of nodes) await child(context, at);
        };
      }
      case 'Parallel': {
        const nodes = node.nodes.map((child) => this.#compile(child, copies));
        return async (context, at) => {
          await Promise.all(nodes.map((child) => child(context, at)));
        };
      }
      case 'Flatten': {
        const inner = this.#compile(node.node, copies);
        const { path } = node;
        const steps = compilePath(path, this.#types);
        return (context, at) => {
          const values: JsonObject[] = [];
          for (const value of at.values) collectValues(value, steps, 0, values);
          return values.length === 0 ? undefined : inner(context, { path: [...at.path, ...path], values });
        };
      }
      case 'Fetch':
        return node.requires ? this.#compileEntityFetch(node, copies) : this.#compileRootFetch(node);
      default:
        // Conditions are evaluated and @defer is removed before planning.
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
    return async (context, at) => {
      const variables = variablesOf(operation, context.variables, []);
      const { data, errors = [] } = await this.#executor.fetch(context, { operation, variables, path: at.path });
      if (errors.length > 0 || !isObject(data)) {
        addRootErrors(context.errors, operation, { data, errors }, this.#pathsTo(context, at.path));
      }
      if (!isObject(data)) return;
      rewrite?.(data);
      for (const value of at.values) mergeInto(value, data, this.#types);
    };
  }

  #compileEntityFetch(node: FetchNode, copies: boolean): RunNode {
    const operation = this.#operation(node);
    const represent = compileRepresentations(
      node.requires ?? [],
      node.inputRewrites,
      this.#types,
      (typeName, hasField) => this.#keys?.hasKey(node.serviceName, typeName, hasField) ?? true,
    );
    const rewrite = compileRewrites(node.outputRewrites, this.#types);
    const fetch = async (
      context: ExecutionContext,
      { path, values }: Cursor,
      contextual: EntityFetch['contextual'],
      pathsOf: () => Path[],
    ) => {
      const { texts, indices } = represent(values);
      if (context.errors.length > 0 && indices.includes(-1)) {
        addUnfetched(context.errors, operation, this.#occurrences(values, indices, pathsOf()));
      }
      if (texts.length === 0) return;
      const { entities, errors } = await this.#batcher.fetch(context, {
        operation,
        representations: texts,
        contextual,
        path,
      });
      if (errors.length > 0) {
        addEntityErrors(context.errors, operation, { entities, errors }, this.#occurrences(values, indices, pathsOf()));
      }
      if (!entities) return;
      if (rewrite) this.#rewrite(values, entities, indices, rewrite);
      for (let i = 0; i < values.length; i++) {
        const received = entities[indices[i] as number];
        if (isObject(received)) mergeInto(values[i] as JsonObject, copies ? copyOf(received) : received, this.#types);
      }
    };
    if (!node.contextRewrites) return (context, at) => fetch(context, at, [], () => this.#pathsTo(context, at.path));

    // Entities with different arguments from a context are fetched separately.
    const readContext = compileContext(node.contextRewrites, this.#types);
    return async (context, { path }) => {
      const entities: (readonly JsonObject[])[] = [];
      collectAncestors(context.data, compilePath(path, this.#types), 0, [], entities);
      const byArguments = new Map<string, { contextual: EntityFetch['contextual']; indices: number[] }>();
      entities.forEach((ancestors, i) => {
        const contextual = readContext(ancestors);
        const key = JSON.stringify(contextual);
        const equal = byArguments.get(key);
        if (equal) equal.indices.push(i);
        else byArguments.set(key, { contextual, indices: [i] });
      });
      const fetches = [...byArguments.values()].map(({ contextual, indices }) => {
        const values = indices.map((i) => entities[i]?.at(-1) as JsonObject);
        return fetch(context, { path, values }, contextual, () => {
          const paths = this.#pathsTo(context, path);
          return indices.map((i) => paths[i] as Path);
        });
      });
      await Promise.all(fetches);
    };
  }

  #occurrences(values: Cursor['values'], indices: readonly number[], paths: readonly Path[]): EntityOccurrence[] {
    return indices.map((index, i) => ({
      index,
      path: paths[i] as Path,
      isOf: (condition) => this.#types.holds(condition, String(values[i]?.__typename)),
    }));
  }

  #pathsTo(context: ExecutionContext, path: PlanPath): Path[] {
    const paths: Path[] = [];
    collectPaths(context.data, compilePath(path, this.#types), 0, [], paths);
    return paths;
  }

  /** Rewrites fetched entities, each once. An entity without `__typename` has the type of its representation. */
  #rewrite(
    values: Cursor['values'],
    entities: readonly (Json | undefined)[],
    indices: readonly number[],
    rewrite: (entity: JsonObject) => void,
  ): void {
    const done = new Set<number>();
    indices.forEach((index, i) => {
      const received = entities[index];
      if (done.has(index) || !isObject(received)) return;
      done.add(index);
      received.__typename ??= values[i]?.__typename;
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

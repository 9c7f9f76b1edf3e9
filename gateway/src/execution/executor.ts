import type { PlanPath } from '../planning/index.js';
import type { SubgraphResult } from '../subgraph/index.js';
import type { BatchResult, EntityBatch } from './entity-batch.js';
import type { ExecutionContext } from './execution-context.js';
import type { SubgraphOperation } from './subgraph-operation.js';

/** A fetch of root fields. */
export interface RootFetch {
  readonly operation: SubgraphOperation;
  /** The value of "variables", as JSON. */
  readonly variables: string;
  /** The path of the response that it is for. */
  readonly path: PlanPath;
}

/** Executes the fetches of plans. Subgraphs' failures are among the errors of the results; a rejection is a fault of the gateway. */
export interface Executor {
  /** Whether there is a subgraph of this name. */
  has(subgraph: string): boolean;
  /** Fetches root fields of one subgraph. */
  fetch(context: ExecutionContext, fetch: RootFetch): Promise<SubgraphResult>;
  /**
   * Fetches entity batches of one subgraph together.
   *
   * @param paths the paths of the response that they are for
   * @returns a result for each batch, in the same order
   */
  fetchEntities(
    context: ExecutionContext,
    batches: readonly EntityBatch[],
    paths: readonly PlanPath[],
  ): Promise<readonly BatchResult[]>;
}

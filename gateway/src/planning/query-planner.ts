import type { DocumentNode } from 'graphql';
import type { QueryPlan } from './query-plan.js';

/** What an operation is planned for, besides its text. */
export interface PlanningOptions {
  /** The values of the variables in `@skip` and `@include`. */
  readonly conditions: Readonly<Record<string, boolean>>;
  /** Which labels of progressive `@override`s are on. */
  readonly overrides: ReadonlyMap<string, boolean>;
}

/**
 * Plans the operations of one supergraph. The port behind which planners are exchanged: an adapter imports a planner's library,
 * and no other file does.
 */
export interface QueryPlanner {
  /**
   * Plans an operation that is valid in the API schema, with one operation definition.
   *
   * @throws ApiError COST_LIMIT with the reason PLANNING when planning takes too much; INTERNAL_SERVER_ERROR with a `cause` when
   *   the planner fails; GraphQLError when the operation cannot be planned
   */
  plan(operation: DocumentNode, options: PlanningOptions): QueryPlan;
}

/** The planners of one supergraph. */
export interface QueryPlanners {
  /** Plans every operation. */
  readonly planner: QueryPlanner;
  /**
   * Plans without `@provides`, so that every field comes from the subgraph that owns it; null when the supergraph has no
   * `@provides`. Created on the first call, which takes as long as loading the supergraph.
   */
  authoritative(): QueryPlanner | null;
}

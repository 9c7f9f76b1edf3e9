import type { DocumentNode } from 'graphql';
import type { QueryPlan } from './query-plan.js';

/** The planners that there are: `native` is `@graphql-hive/router-query-planner`, `apollo` is `@apollo/query-planner`. */
export type PlannerName = 'native' | 'apollo';

/** What an operation is planned for, besides its text. */
export interface PlanningOptions {
  /** The values of the variables in `@skip` and `@include`. */
  readonly conditions: Readonly<Record<string, boolean>>;
  /** Which labels of progressive `@override`s are on. */
  readonly overrides: ReadonlyMap<string, boolean>;
  /** Called with the time that planning took, in milliseconds, without the time that it waited for others. */
  readonly charge: (ms: number) => void;
}

/** A plan, and the planner that made it. */
export interface PlannedOperation {
  readonly plan: QueryPlan;
  readonly planner: PlannerName;
  /** Why the native planner could not plan this operation, when it was tried first. */
  readonly reason?: string | undefined;
}

/** Plans the operations of one supergraph. */
export interface QueryPlanner {
  /**
   * Plans an operation that is valid in the API schema, with one operation definition.
   *
   * @throws ApiError with the reason PLANNING: COST_LIMIT when planning takes too much, INTERNAL_SERVER_ERROR with a `cause` when no
   *   planner can plan the operation; GraphQLError when the operation cannot be planned
   */
  plan(operation: DocumentNode, options: PlanningOptions): Promise<PlannedOperation>;
}

/** Which planner a supergraph has, and why it is not the native one; null when it is. */
export interface PlannerChoice {
  readonly name: PlannerName;
  readonly reason: string | null;
}

/** The planners of one supergraph. */
export interface QueryPlanners {
  /** Loads the supergraph, which otherwise happens before the first operation is planned. @throws Error when no planner can */
  load(): Promise<PlannerChoice>;
  /** Plans every operation. */
  readonly planner: QueryPlanner;
  /**
   * Plans without `@provides`, so that every field comes from the subgraph that owns it; null when the supergraph has no `@provides`.
   */
  readonly authoritative: QueryPlanner | null;
}

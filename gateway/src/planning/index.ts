// How an operation is divided among subgraphs.

export { toApiSchema } from './api-schema.js';
// The adapter for Apollo's planner, and the schema that clients see as Apollo's library reads it from a supergraph.
export { createApolloPlanners } from './apollo-planner.js';
// Plans as text, for explanations.
export { formatPlan } from './format-plan.js';
// Draws which labels of progressive `@override`s are on for a request.
export { type OverrideLabels, overrideLabels } from './override-labels.js';
// Plans each operation once for each set of its conditions.
export { type CompiledPlan, PlanCache, type PlanCacheOptions, type PreparedOperation } from './plan-cache.js';
// Plans one operation after the other, in turn for each client.
export { PlanningQueue } from './planning-queue.js';
// The port: planners of one supergraph, and the plans that they produce.
export type {
  FetchNode,
  PlanNode,
  PlanPath,
  QueryPlan,
  RenameKey,
  RequiredSelection,
  Rewrite,
  SetValue,
} from './query-plan.js';
export type { PlanningOptions, QueryPlanner, QueryPlanners } from './query-planner.js';

// How an operation is divided among subgraphs.

// The schema that clients see, as Apollo's library reads it from a supergraph.
export { toApiSchema } from './api-schema.js';
// Plans as text, for explanations.
export { formatPlan } from './format-plan.js';
// Draws which labels of progressive `@override`s are on for a request.
export { type OverrideLabels, overrideLabels } from './override-labels.js';
// Plans each operation once for each set of its conditions.
export {
  type CompiledPlan,
  PlanCache,
  type PlanCacheOptions,
  type PlanVariant,
  type PreparedOperation,
} from './plan-cache.js';
// The planners of a gateway, each in a process of its own.
export { Planners, type PlannersOptions } from './planners.js';
// Runs jobs one after the other, in turn for each client.
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
export type {
  PlannedOperation,
  PlannerChoice,
  PlannerName,
  PlanningOptions,
  QueryPlanner,
  QueryPlanners,
} from './query-planner.js';

// Execution: compiles plans to functions, and runs them against subgraphs.

// Serves fetches from the cache, and passes what is missing to the subgraph executor. Both implement `Executor` (executor).
export { CachedExecutor } from './cached-executor.js';
// Compiles a plan to a function. Its steps: flatten, representations, from-context, data-rewrites, deep-merge; fetch-errors for failures.
export { PlanCompiler, type RunNode } from './compile-plan.js';
// Batches the entity fetches of one turn of the event loop (entity-batch), in front of the executor.
export { EntityBatcher } from './entity-batcher.js';
// The keys by which subgraphs find entities.
export { EntityKeys } from './entity-keys.js';
// One execution of a plan: its inputs, its data and its errors.
export type { ExecutionContext } from './execution-context.js';
// Traces of fetches as explanations and freshness reports.
export { describePlan, type Explanation, explain, type FreshnessReport, reportFreshness } from './explanation.js';
export { type FetchTrace, rounded } from './fetch-trace.js';
// The fetches of a plan as a list, for operators.
export { type PlannedFetch, plannedFetches } from './planned-fetches.js';
// Sends fetches to subgraphs: several batches as one operation (merged-operation), deduplication in flight, retries.
export { copyOfResult, SubgraphExecutor } from './subgraph-executor.js';
// The operations that subgraphs are sent.
export { SubgraphOperations } from './subgraph-operation.js';

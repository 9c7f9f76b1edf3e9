export { createGateway, type Gateway, type GatewayOptions } from './app.js';
export { checkFiles } from './check-files.js';
export { readConfig, settings } from './config.js';
export { compose } from './open-graphs.js';
export { withDirectives } from './operation/index.js';
export { type OperationPlan, type OperationRefusal, type PlanRequest, planOperation } from './plan-operation.js';
export type {
  ClientRequest,
  ExecutionHooks,
  ExecutionReport,
  GatewayPlugin,
  ParsedDocument,
  PluginOperation,
  RequestChange,
  ResultValues,
  RunRequest,
} from './runtime/index.js';
export type { SubgraphRequest, SubgraphResult } from './subgraph/index.js';
export { composeLargest, composeSchemas, supergraphId } from './supergraph/index.js';

// Runtime: the pipeline that every operation passes, and the graph that it runs on.

// One supergraph, ready to run operations by the pipeline (pipeline: parse, normalize, coerce, plan, execute, complete, serialize; with
// fresh-execution and result).
export { Graph } from './graph.js';
// Loads supergraphs, and swaps the graph that is served.
export { GraphManager, type GraphWarmUp, type LoadedGraph, type WarmUpReport } from './graph-manager.js';
// What plug-ins must keep to when they change a request.
export { checkChange } from './hook-contracts.js';
// The hooks of all plug-ins around a request, composed once; those of the stages are composed by the graph.
export { composeOnRequest, PluginError } from './hooks.js';
export type { ResultValues } from './operation-request.js';
// The interface of plug-ins.
export type {
  ClientRequest,
  ExecutionHooks,
  ExecutionReport,
  GatewayPlugin,
  ParsedDocument,
  PluginOperation,
  RequestChange,
  RunRequest,
} from './plugin.js';

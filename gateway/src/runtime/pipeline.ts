import { performance } from 'node:perf_hooks';
import { OperationTypeNode } from 'graphql';
import { NO_REQUIREMENTS, reached, stricter } from '../consistency/index.js';
import { describePlan, rounded } from '../execution/index.js';
import { enclose, quote } from '../lib/json-text.js';
import { coerceVariables } from '../operation/index.js';
import { executeFresh } from './fresh-execution.js';
import type { Graph } from './graph.js';
import type { OperationRequest, OperationResult } from './operation-request.js';
import type { ExecutionHooks, ExecutionReport } from './plugin.js';
import { completeResult, introspect, RunningOperation, refuse } from './result.js';

/**
 * Runs one operation: parse, normalize and validate, coerce variables, plan, execute, complete, serialize. An operation that is cached
 * passes the stages before execution in one turn of the event loop.
 *
 * @throws what `allow` and plug-ins throw, and ApiError RATE_LIMITED when too many operations wait to be planned
 */
export async function runOperation(graph: Graph, request: OperationRequest): Promise<OperationResult> {
  const started = performance.now();
  const { query, operationName, client } = request;
  const { schema, operations, plans, cache, hooks } = graph;

  // Parse, normalize and validate.
  const parsed = operations.get(query, operationName) ?? (await graph.parse(request));
  if ('errors' in parsed) return { errors: graph.presentRequestErrors(parsed.errors) };
  const { operation, document } = parsed;
  const { type } = document;
  request.allow?.(type);

  // Coerce variables.
  const variables = coerceVariables(schema, document, request.variables ?? {});
  if ('errors' in variables) return { errors: graph.presentRequestErrors(variables.errors) };
  const running = new RunningOperation(graph, request, operation, document, variables);

  // Plan.
  hooks.onPlan?.(running);
  const key = plans.keyOf(operation, variables.coerced);
  const cached = plans.get(operation, key);
  const refused = (error: unknown) => refuse(error, running);
  const prepared = cached ?? (await plans.prepare(operation, key, variables.coerced, client).catch(refused));
  prepared.uses += 1;
  const planning = {
    planner: prepared.planner,
    cached: cached !== undefined,
    durationMs: rounded(performance.now() - started),
  };

  // Execute.
  const later: ExecutionHooks | undefined = hooks.onExecute?.(running);
  const executed = await executeFresh({
    type,
    requirements: stricter(request.requirements ?? NO_REQUIREMENTS, operation.maxStalenessMs),
    compiled: prepared,
    authoritative: () => plans.authoritative(operation, prepared, key, variables.coerced, client).catch(refused),
    cache,
    started,
    execute: (plan, requirements) => graph.execute(plan, running, requirements, later?.trace === true),
  });
  const { data, errors, plain, observed, traces } = executed.context;
  const positions = type === OperationTypeNode.QUERY ? null : { positions: reached(observed) };

  // Complete and serialize in one step, when there is nothing to say but the data.
  const { write, complete } = prepared.output;
  const text = errors.length === 0 && !later ? write?.(data, plain ? enclose : quote) : null;
  if (typeof text === 'string') return { text: `{"data":${text}}`, ...positions };

  // Complete; the HTTP layer serializes.
  const result = completeResult(running, complete ?? introspect(running), executed.context);
  if (!later) return { ...result, ...positions };
  const report: ExecutionReport = {
    plan: () => describePlan(executed.plan.plan),
    planning,
    switched: executed.plan !== prepared,
    traces: traces ?? [],
    started,
  };
  return { ...later.onResult(result, report), ...positions };
}

import { readFile } from 'node:fs/promises';
import type { GraphQLError } from 'graphql';
import { pino } from 'pino';
import { unusableSupergraph } from './check-files.js';
import type { GatewayConfig } from './config.js';
import { type PlannedFetch, plannedFetches } from './execution/index.js';
import { limitOperations, operationOptions } from './open-graphs.js';
import { byClientNames, type ClientDocument, coerceVariables, type OperationSource } from './operation/index.js';
import { formatPlan, type PlannerName, Planners, type QueryPlan, toApiSchema } from './planning/index.js';
import { Graph } from './runtime/index.js';
import { subgraphsOf } from './supergraph/index.js';

/** An operation to plan, with the values of the variables in its `@skip` and `@include`; others are not needed. */
export interface PlanRequest extends OperationSource {
  readonly variables?: Readonly<Record<string, unknown>>;
}

/** The plan that a gateway with the same settings would execute. */
export interface OperationPlan {
  readonly planner: PlannerName;
  /** Why it is not the native planner; null when it is. */
  readonly plannerReason: string | null;
  /** The values of the variables in `@skip` and `@include`, by the client's names. */
  readonly conditions: Readonly<Record<string, unknown>>;
  readonly plan: QueryPlan;
  /** The plan for people. */
  readonly text: string;
  readonly fetches: readonly PlannedFetch[];
  /** What the variables of the subgraphs' operations stand for: a variable of the client (`$first`), or a literal as JSON. */
  readonly variables: Readonly<Record<string, string>>;
}

/** Why the gateway would refuse an operation, as clients see it. */
export interface OperationRefusal {
  readonly errors: readonly GraphQLError[];
}

/**
 * Plans one operation on a supergraph, as a gateway with these settings does, and executes nothing.
 *
 * @param supergraphSdl read from SUPERGRAPH_PATH unless it is given
 * @throws ConfigurationError for a file that cannot be served; what the planner throws, with the planner's own message as its `cause`
 */
export async function planOperation(
  config: GatewayConfig,
  { query, operationName, variables: given = {} }: PlanRequest,
  supergraphSdl?: string,
): Promise<OperationPlan | OperationRefusal> {
  const { QUERY_PLANNER: forced, PLANNING_TIMEOUT: timeoutMs } = config;
  const planners = new Planners({ planner: forced, timeoutMs, logger: pino({ level: 'silent' }) });
  try {
    const { graph, choice } = await load(config, planners, supergraphSdl);
    const parsed = await graph.parse({ query, operationName });
    if ('errors' in parsed) return { errors: graph.presentRequestErrors(parsed.errors) };
    const { operation, document } = parsed;
    const values = coerceVariables(graph.schema, onlyConditions(document, operation.conditions), given);
    if ('errors' in values) return { errors: graph.presentRequestErrors(values.errors) };
    const { coerced } = values;
    const key = graph.plans.keyOf(operation, coerced);
    const { plan, planner, reason = choice.reason } = await graph.plans.prepare(operation, key, coerced, undefined);
    const fetches = plannedFetches(plan);
    return {
      planner,
      plannerReason: reason,
      conditions: byClientNames(document, coerced),
      plan,
      text: formatPlan(plan),
      fetches,
      variables: meaningsOf(document, fetches),
    };
  } finally {
    planners.close();
  }
}

/** Loads a supergraph as the gateway does, with subgraphs that are never asked. @throws ConfigurationError for a file that cannot be served */
async function load(config: GatewayConfig, planners: Planners, given: string | undefined) {
  const { SUPERGRAPH_PATH: path = '' } = config;
  try {
    const supergraphSdl = given ?? (await readFile(path, 'utf8'));
    const fetch = () => Promise.reject(new Error('Nothing is executed.'));
    const graph = new Graph({
      supergraphSdl,
      apiSchema: toApiSchema(supergraphSdl),
      planners: planners.of(supergraphSdl),
      fetchers: new Map(subgraphsOf(supergraphSdl).map(({ name }) => [name, fetch] as const)),
      plugins: [limitOperations(config)],
      ...operationOptions(config),
    });
    return { graph, choice: await graph.load() };
  } catch (error) {
    throw given === undefined ? unusableSupergraph(path, error) : error;
  }
}

/** A document that declares only the variables in its `@skip` and `@include`. */
function onlyConditions(document: ClientDocument, conditions: readonly string[]): ClientDocument {
  const variableNames = new Map([...document.variableNames].filter(([, name]) => conditions.includes(name)));
  const variableDefinitions = document.variableDefinitions.filter(({ variable }) =>
    variableNames.has(variable.name.value),
  );
  return { ...document, variableNames, variableDefinitions };
}

function meaningsOf({ variableNames, literals }: ClientDocument, fetches: readonly PlannedFetch[]) {
  const used = new Set(fetches.flatMap(({ variables }) => variables));
  const ofClient = [...variableNames].map(([name, normalized]) => [normalized, `$${name}`] as const);
  const ofLiterals = Object.entries(literals).map(([name, value]) => [name, JSON.stringify(value)] as const);
  return Object.fromEntries([...ofClient, ...ofLiterals].filter(([name]) => used.has(name)));
}

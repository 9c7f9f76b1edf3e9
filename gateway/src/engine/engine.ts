import { performance } from 'node:perf_hooks';
import { operationFromDocument, ROUTER_SUPPORTED_SUPERGRAPH_FEATURES, Supergraph } from '@apollo/federation-internals';
import { type PlanNode, type QueryPlan, QueryPlanner } from '@apollo/query-planner';
import { executeSync, GraphQLError, type GraphQLSchema, getVariableValues, OperationTypeNode } from 'graphql';
import type { Abandonment } from './abandonment.js';
import { type ConditionValues, withSettledConditions } from './conditions.js';
import { type Explanation, explain, type FetchTrace, rounded } from './explanation.js';
import { enclose, quote } from './json-text.js';
import type { OperationLimits } from './limits.js';
import { type CheckedOperation, type Operation, Operations } from './operations.js';
import { type OverrideLabels, overrideLabels } from './override-labels.js';
import { PlanCompiler, type RunNode } from './plan.js';
import { PlanningQueue } from './planning-queue.js';
import { compileShape, type Shape } from './response-shape.js';
import { compileWriter, type Write } from './response-writer.js';
import { SharedFetches } from './shared-fetches.js';
import { SubgraphCalls } from './subgraph-calls.js';
import { TypeConditions } from './type-conditions.js';
import type { Fetcher, JsonObject, Run } from './types.js';

export interface EngineOptions {
  readonly supergraphSdl: string;
  /** What clients may ask for. */
  readonly apiSchema: GraphQLSchema;
  /** By the subgraph's name. */
  readonly fetchers: ReadonlyMap<string, Fetcher>;
  /** Whether queries to subgraphs that are under way are shared by those who want the same. */
  readonly shareFetches?: boolean;
  /** Whether entity fetches of a request to one subgraph at one time become one. */
  readonly mergeFetches?: boolean;
  readonly limits?: OperationLimits;
  /** How many operations are kept planned. */
  readonly maxOperations?: number;
  /** Labels of `@override` that are on, with the share of requests for which they are. */
  readonly labels?: ReadonlyMap<string, number>;
}

export interface EngineRequest {
  readonly query: string;
  readonly operationName?: string | undefined;
  readonly variables?: Readonly<Record<string, unknown>>;
  /** Sent to subgraphs. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Happens when the client is gone. */
  readonly abandonment?: Abandonment;
  /** Whether the answer is to say how it came about. */
  readonly explain?: boolean;
  /** Whether an operation of this type may be run. @throws when it may not */
  readonly allow?: (type: OperationTypeNode) => void;
}

/** An answer; nothing was executed when there is no data. */
export type EngineResult =
  | { readonly text: string }
  | {
      readonly data?: JsonObject | null;
      readonly errors?: readonly GraphQLError[];
      readonly extensions?: { readonly explanation: Explanation };
    };

/** An operation, planned and compiled for certain conditions: what is left for each request is to run it. */
export interface Variant {
  readonly plan: QueryPlan;
  readonly run: RunNode | null;
  /** Null when it has to be made for each request, because the schema is asked about itself. */
  readonly shape: Shape | null;
  readonly write: Write | null;
}

const LIMITS: OperationLimits = { tokens: 20_000, depth: 50, aliases: 1000, fields: 10_000 };
const MAX_PLANNING = 1000;
/** Different ways to a plan that the planner compares before it takes the best so far. */
const MAX_EVALUATED_PLANS = 1000;

/** Runs operations on one supergraph: plans and compiles each once, runs it for each request. */
export class Engine {
  readonly #apiSchema: GraphQLSchema;
  readonly #supergraph: Supergraph;
  readonly #planner: QueryPlanner;
  readonly #compiler: PlanCompiler;
  readonly #shared: SharedFetches;
  readonly #operations: Operations;
  readonly #labels: OverrideLabels;
  readonly #planning = new PlanningQueue(MAX_PLANNING);

  constructor(options: EngineOptions) {
    const { supergraphSdl, apiSchema, fetchers, shareFetches = true, mergeFetches = true } = options;
    this.#apiSchema = apiSchema;
    this.#supergraph = Supergraph.build(supergraphSdl, {
      validateSupergraph: false,
      supportedFeatures: ROUTER_SUPPORTED_SUPERGRAPH_FEATURES,
    });
    this.#planner = new QueryPlanner(this.#supergraph, {
      reuseQueryFragments: false,
      debug: { maxEvaluatedPlans: MAX_EVALUATED_PLANS },
    });
    this.#shared = new SharedFetches(shareFetches);
    this.#compiler = new PlanCompiler(
      new TypeConditions(this.#supergraph.schema.toGraphQLJSSchema()),
      new SubgraphCalls(fetchers, this.#shared, mergeFetches),
    );
    const { limits = LIMITS, maxOperations = 1000, labels = new Map() } = options;
    this.#operations = new Operations(apiSchema, this.#supergraph, limits, maxOperations);
    this.#labels = overrideLabels(this.#supergraph, labels);
  }

  /** @throws whatever `allow` throws, and ApiError RATE_LIMITED when too many operations wait to be planned */
  async run(request: EngineRequest): Promise<EngineResult> {
    const started = performance.now();
    const { query, operationName } = request;
    const checked = this.#operations.known(query, operationName) ?? (await this.#check(query, operationName));
    if ('errors' in checked) return checked;
    const { operation } = checked;
    const type = operation.definition.operation;
    request.allow?.(type);

    const given = request.variables ?? {};
    const definitions = operation.definition.variableDefinitions ?? [];
    const { coerced, errors: wrong } = getVariableValues(this.#apiSchema, definitions, given, { maxErrors: 20 });
    if (wrong) return { errors: wrong };
    const key = this.#variantKey(operation, coerced);
    const known = operation.variants.get(key);
    const variant = known ?? (await this.#prepare(operation, key, coerced));
    const planning = { cached: known !== undefined, durationMs: rounded(performance.now() - started) };

    const { headers = {}, abandonment } = request;
    const isQuery = type === OperationTypeNode.QUERY;
    const data: JsonObject = {};
    const errors: GraphQLError[] = [];
    const traces: FetchTrace[] | null = request.explain ? [] : null;
    let plain = true;
    if (variant.run) {
      const run: Run = {
        variables: forwarded(given, coerced),
        headers,
        credentials: isQuery ? credentialsOf(headers) : null,
        abandonment: (isQuery && abandonment) || null,
        data,
        errors,
        plain,
        traces,
      };
      await variant.run(run, { path: [], values: [data] });
      if (!isQuery) this.#shared.forget();
      plain = run.plain;
    }

    const text = errors.length === 0 && !traces ? variant.write?.(data, plain ? enclose : quote) : null;
    if (typeof text === 'string') return { text: `{"data":${text}}` };
    const shaped = (variant.shape ?? this.#shape(operation, coerced))(data, errors);
    const told = errors.map((error) => within(shaped, error, operation.responseNames));
    const explanation = traces && explain(variant.plan, planning, traces, started);
    return {
      ...(told.length > 0 && { errors: told }),
      data: shaped,
      ...(explanation && { extensions: { explanation } }),
    };
  }

  /** Of an operation that was run before: what it is. */
  typeOf(query: string, operationName: string | undefined): OperationTypeNode | undefined {
    const checked = this.#operations.known(query, operationName);
    return checked && 'operation' in checked ? checked.operation.definition.operation : undefined;
  }

  #check(query: string, operationName: string | undefined): Promise<CheckedOperation> {
    const key = `check ${operationName ?? ''}\n${query}`;
    return this.#planning.run(key, () => this.#operations.check(query, operationName));
  }

  #variantKey({ conditions }: Operation, variables: Readonly<Record<string, unknown>>): string {
    let key = this.#labels.size === 0 ? '' : this.#labels.draw();
    for (const name of conditions) key += variables[name] ? '1' : '0';
    return key;
  }

  #prepare(operation: Operation, key: string, variables: Readonly<Record<string, unknown>>): Promise<Variant> {
    const { conditions, introspection, variants } = operation;
    return this.#planning.run(`plan ${operation.number} ${key}`, () => {
      const values = Object.fromEntries(conditions.map((name) => [name, variables[name] === true]));
      const plan = this.#plan(operation, values, this.#labels.read(key));
      const variant: Variant = {
        plan,
        run: plan.node ? this.#compiler.compile(plan.node as PlanNode) : null,
        shape: introspection ? null : this.#shape(operation, variables),
        write: introspection ? null : compileWriter(operation.definition, this.#parts(operation, variables, null)),
      };
      variants.set(key, variant);
      return variant;
    });
  }

  #plan({ document }: Operation, values: ConditionValues, overrideConditions: Map<string, boolean>): QueryPlan {
    try {
      const planned = operationFromDocument(this.#supergraph.apiSchema(), withSettledConditions(document, values));
      return this.#planner.buildQueryPlan(planned, { overrideConditions });
    } catch (error) {
      if (error instanceof RangeError) throw new GraphQLError('The operation is too large to be planned.');
      throw error;
    }
  }

  #shape(operation: Operation, variables: Readonly<Record<string, unknown>>): Shape {
    const { introspection } = operation;
    const asked = introspection
      ? executeSync({ schema: this.#apiSchema, document: introspection, variableValues: variables }).data
      : null;
    return compileShape(operation.definition, this.#parts(operation, variables, (asked ?? null) as JsonObject | null));
  }

  #parts(
    { fragments, responseNames }: Operation,
    variables: Readonly<Record<string, unknown>>,
    introspection: JsonObject | null,
  ) {
    return { schema: this.#apiSchema, fragments, variables, responseNames, introspection };
  }
}

/**
 * An error in the client's names. Of a field that the client did not ask for (a key, say, or another type's) it is told of the
 * object that has it.
 */
function within(
  data: JsonObject | null,
  error: GraphQLError,
  responseNames: ReadonlyMap<string, string>,
): GraphQLError {
  if (!error.path) return error;
  const path: (string | number)[] = [];
  let value: unknown = data;
  for (const internal of error.path) {
    const key = typeof internal === 'string' ? (responseNames.get(internal) ?? internal) : internal;
    if (value !== null && typeof value !== 'object') {
      // The client asked for something else by this name.
      path.pop();
      break;
    }
    if (value !== null) {
      if (!Object.hasOwn(value, key)) break;
      value = (value as Record<string | number, unknown>)[key];
    }
    path.push(key);
  }
  return new GraphQLError(error.message, { path, extensions: error.extensions });
}

/** Subgraphs are sent what the client gave, and what the operation's defaults say where it gave nothing. */
function forwarded(
  given: Readonly<Record<string, unknown>>,
  coerced: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const variables: Record<string, unknown> = {};
  for (const name in coerced)
    variables[name] = name in given && given[name] !== undefined ? given[name] : coerced[name];
  return variables;
}

/** Requests with the same credentials may share what they fetch: those that send the same headers to subgraphs, but for tracing. */
export function credentialsOf({
  'x-request-id': _,
  traceparent,
  tracestate,
  ...credentials
}: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(credentials).sort(([a], [b]) => (a < b ? -1 : 1)));
}

import { performance } from 'node:perf_hooks';
import { MIN_POSITIONS_HEADER } from '@tributary/consistency';
import { MAX_OPERATION_NAME, OPERATION_NAME_HEADER } from '@tributary/server';
import { executeSync, GraphQLError, type GraphQLSchema, OperationTypeNode } from 'graphql';
import { CachePolicy, type EntityCache } from '../cache/index.js';
import {
  isFreshEnough,
  minPositionsHeader,
  NO_REQUIREMENTS,
  type Requirements,
  reached,
  stricter,
} from '../consistency/index.js';
import { PlanCompiler, type RunNode } from '../execution/compile-plan.js';
import { SubgraphOperations } from '../execution/composed-operation.js';
import { EntityKeys } from '../execution/entity-keys.js';
import type { ExecutionContext } from '../execution/execution-context.js';
import { type Explanation, explain, type FreshnessReport, reportFreshness, rounded } from '../execution/explanation.js';
import { copyOfResult, SubgraphCalls } from '../execution/subgraph-executor.js';
import { ResponseErrors } from '../lib/error-list.js';
import type { JsonObject } from '../lib/json.js';
import { enclose, quote } from '../lib/json-text.js';
import type { Cancellation } from '../lib/lazy-abort-controller.js';
import { credentialsOf } from '../lib/partition-key.js';
import { SingleFlight } from '../lib/single-flight.js';
import { SupergraphSchema } from '../lib/supergraph-schema.js';
import { TypeConditions } from '../lib/type-conditions.js';
import { type NormalizedVariables, readVariables } from '../operation/coerce-variables.js';
import {
  type CheckedOperation,
  type ClientDocument,
  type Operation,
  Operations,
  withDirectives,
} from '../operation/document-cache.js';
import { checkKnownScalars } from '../operation/known-scalars.js';
import type { OperationLimits } from '../operation/limits.js';
import { errorWithoutSuggestions } from '../operation/suggestions.js';
import {
  type CompiledPlan,
  createApolloPlanners,
  overrideLabels,
  PlanCache,
  PlanningQueue,
} from '../planning/index.js';
import { byClientNames, conditionError, presentErrors } from '../response/client-errors.js';
import { compileShape, type Shape } from '../response/complete-value.js';
import { compileWriter, type Write } from '../response/json-writer.js';
import type { Fetcher, SubgraphResult } from '../subgraph/index.js';

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
  /** The memory that they may take with their plans, in bytes (estimated). */
  readonly maxOperationsWeight?: number | undefined;
  /** What was read before; nothing is cached without it. */
  readonly cache?: EntityCache | null;
  /** Labels of `@override` that are on, with the share of requests for which they are. */
  readonly labels?: ReadonlyMap<string, number>;
  /** Whether clients may query `__schema` and `__type`. */
  readonly introspection?: boolean;
  /** Whether error messages suggest names of the schema ("Did you mean …?"). */
  readonly suggestions?: boolean;
}

export interface EngineRequest {
  readonly query: string;
  readonly operationName?: string | undefined;
  /** Who sends the request: a key by which new operations are planned in turn. */
  readonly client?: string | undefined;
  readonly variables?: Readonly<Record<string, unknown>>;
  /** Sent to subgraphs. */
  readonly headers?: Readonly<Record<string, string>>;
  /** With which errors refer to the log. */
  readonly requestId?: string | undefined;
  /** What everything that is read must be at least. */
  readonly requirements?: Requirements;
  /** Aborts when the client has disconnected. */
  readonly cancellation?: Cancellation;
  /** Whether the answer is to say how it came about. */
  readonly explain?: boolean;
  /** Whether the answer is to say how fresh it is. */
  readonly reportFreshness?: boolean;
  /** Whether an operation of this type may be run. @throws when it may not */
  readonly allow?: (type: OperationTypeNode) => void;
}

/** An answer; nothing was executed when there is no data. */
export type EngineResult = (
  | { readonly text: string }
  | {
      readonly data?: JsonObject | null;
      readonly errors?: readonly GraphQLError[];
      readonly extensions?: { readonly explanation?: Explanation; readonly freshness?: FreshnessReport };
    }
) & {
  /** After a mutation: the state that has it in it, by source. */
  readonly positions?: ReadonlyMap<string, number>;
};

/** What completes and writes the response of a prepared operation. */
interface Output {
  /** Null when it depends on the request, because the operation selects `__schema` or `__type`. */
  readonly shape: Shape | null;
  readonly write: Write | null;
}

const LIMITS: OperationLimits = { tokens: 20_000, depth: 50, aliases: 1000, fields: 10_000 };
const MAX_PLANNING = 1000;

/** The longest time, in milliseconds, that a request waits for the invalidations up to the positions in its consistency token. */
const STREAM_PATIENCE_MS = 50;

/** Runs operations on one supergraph: plans and compiles each once, runs it for each request. */
export class Engine {
  readonly #apiSchema: GraphQLSchema;
  readonly #cache: EntityCache | null;
  readonly #types: TypeConditions;
  readonly #flights: SingleFlight<SubgraphResult> | null;
  readonly #operations: Operations;
  readonly #plans: PlanCache<RunNode, Output>;
  readonly #suggestions: boolean;
  readonly #planning = new PlanningQueue(MAX_PLANNING);

  constructor(options: EngineOptions) {
    const { supergraphSdl, apiSchema, fetchers, shareFetches = true, mergeFetches = true, cache = null } = options;
    checkKnownScalars(apiSchema);
    this.#apiSchema = withDirectives(apiSchema);
    const planners = createApolloPlanners(supergraphSdl, this.#apiSchema);
    this.#flights = shareFetches ? new SingleFlight({ copy: copyOfResult }) : null;
    this.#cache = cache;
    const supergraph = new SupergraphSchema(supergraphSdl);
    this.#types = new TypeConditions(supergraph.schema);
    const compiler = new PlanCompiler(
      this.#types,
      new SubgraphCalls(fetchers, this.#flights, mergeFetches, cache),
      new SubgraphOperations(cache ? new CachePolicy(supergraph) : null),
      new EntityKeys(supergraph),
    );
    const { limits = LIMITS, maxOperations = 1000, maxOperationsWeight, labels = new Map() } = options;
    const { introspection = true, suggestions = true } = options;
    this.#suggestions = suggestions;
    this.#operations = new Operations(
      this.#apiSchema,
      supergraph,
      limits,
      maxOperations,
      maxOperationsWeight,
      introspection,
    );
    this.#plans = new PlanCache({
      planners,
      operations: this.#operations,
      labels: overrideLabels(supergraph, labels),
      queue: this.#planning,
      compilePlan: (node) => compiler.compile(node),
      compileOutput: (operation, variables) => this.#compileOutput(operation, variables),
    });
  }

  /** @throws whatever `allow` throws, and ApiError RATE_LIMITED when too many operations wait to be planned */
  async run(request: EngineRequest): Promise<EngineResult> {
    const started = performance.now();
    const { query, operationName, client } = request;
    const checked = this.#operations.known(query, operationName) ?? (await this.#check(request));
    if ('errors' in checked) return { errors: this.#shown(checked.errors) };
    const { operation, document } = checked;
    const { type } = document;
    request.allow?.(type);

    const variables = readVariables(this.#apiSchema, document, request.variables ?? {});
    if ('errors' in variables) return { errors: this.#shown(variables.errors) };
    const key = this.#plans.keyOf(operation, variables.coerced);
    const cached = this.#plans.get(operation, key);
    const prepared =
      cached ??
      (await this.#plans
        .prepare(operation, key, variables.coerced, client)
        .catch((error) => this.#refusal(error, request, document, variables)));
    const planning = { cached: cached !== undefined, durationMs: rounded(performance.now() - started) };

    const isQuery = type === OperationTypeNode.QUERY;
    const requirements = stricter(request.requirements ?? NO_REQUIREMENTS, operation.maxStalenessMs);
    const isDemanding = requirements.positions.size > 0 || Number.isFinite(requirements.maxStalenessMs);
    if (isQuery && isDemanding) await this.#cache?.prepare(requirements, STREAM_PATIENCE_MS);
    const owners = () =>
      this.#plans
        .authoritative(operation, prepared, key, variables.coerced, client)
        .catch((error) => this.#refusal(error, request, document, variables));
    const start = (by: CompiledPlan<RunNode>) =>
      this.#execute(by, request, document, variables.sent, isQuery ? requirements : null);
    // What a mutation answers is never from a copy, which may not have its changes yet, and it cannot be run a second time.
    const asksOwners = !isQuery || requirements.maxStalenessMs === 0;
    let route: CompiledPlan<RunNode> = (asksOwners && (await owners())) || prepared;
    let run = await start(route);
    if (isQuery && route === prepared && (run.outdated || !isFreshEnough(run.observed, requirements, started))) {
      // A copy is behind what is known, or what the client demands: then its owner is asked.
      const better = await owners();
      const second = better && (await start(better));
      // Who demands nothing has what the copy says when the owner says nothing.
      if (better && second && (isDemanding || second.errors.length <= run.errors.length)) {
        route = better;
        run = second;
      }
    }
    const positions = isQuery ? {} : { positions: reached(run.observed) };
    if (!isQuery) this.#cache?.noteWritten(run.observed);

    const { data, errors, plain, traces } = run;
    const text = errors.length === 0 && !traces ? prepared.output.write?.(data, plain ? enclose : quote) : null;
    if (typeof text === 'string') return { text: `{"data":${text}}`, ...positions };
    const shaped = (prepared.output.shape ?? this.#introspect(operation, request, document, variables))(data, errors);
    // Without data, the error that caused it is enough.
    const listed = errors.list.filter(({ isConsequence }) => shaped !== null || !isConsequence);
    const shown =
      listed.length > 0
        ? presentErrors(listed, {
            schema: this.#apiSchema,
            types: this.#types,
            query,
            document,
            operation,
            given: request.variables ?? {},
            variables: variables.coerced,
            data,
            requestId: request.requestId,
            suggestions: this.#suggestions,
          })
        : [];
    const switched = route !== prepared;
    const extensions = traces && {
      ...(request.explain && { explanation: explain(route.plan, { planning, traces, started, switched }) }),
      ...(request.reportFreshness && { freshness: reportFreshness(traces, switched) }),
    };
    return {
      ...(shown.length > 0 && { errors: shown }),
      data: shaped,
      ...(extensions && { extensions }),
      ...positions,
    };
  }

  /** @throws the error of a preparation in terms of one of the requests that wait for it */
  #refusal(
    error: unknown,
    { query, requestId }: EngineRequest,
    document: ClientDocument,
    { coerced }: NormalizedVariables,
  ): never {
    if (!(error instanceof GraphQLError)) throw error;
    if (error.extensions.code === undefined) {
      throw conditionError(query, document, byClientNames(document, coerced)) ?? error;
    }
    if (error.extensions.code !== 'INTERNAL_SERVER_ERROR' || requestId === undefined) throw error;
    const { message, extensions, cause } = error;
    if (cause === undefined) throw error;
    // The first request that waits for the plan logs the cause; the error that is kept for the others has its id.
    Object.assign(extensions, { requestId });
    error.cause = undefined;
    throw new GraphQLError(message, { extensions, originalError: cause as Error });
  }

  /** Errors of the request, as clients may see them. */
  #shown(errors: readonly GraphQLError[]): readonly GraphQLError[] {
    return this.#suggestions ? errors : errors.map(errorWithoutSuggestions);
  }

  async #execute(
    { run: node }: CompiledPlan<RunNode>,
    { headers: given = {}, cancellation, explain: explains, reportFreshness: reports }: EngineRequest,
    { type, operationName }: ClientDocument,
    variables: Readonly<Record<string, unknown>>,
    requirements: Requirements | null,
  ): Promise<ExecutionContext> {
    const isQuery = type === OperationTypeNode.QUERY;
    const seen = requirements?.positions ?? new Map();
    const headers: Readonly<Record<string, string>> = {
      ...given,
      ...(operationName !== null && { [OPERATION_NAME_HEADER]: operationName.slice(0, MAX_OPERATION_NAME) }),
      ...(seen.size > 0 && { [MIN_POSITIONS_HEADER]: minPositionsHeader(seen) }),
    };
    const data: JsonObject = {};
    const run: ExecutionContext = {
      variables,
      headers,
      credentials: isQuery ? credentialsOf(headers) : null,
      reader: this.#cache ? credentialsOf(given) : '',
      cancellation: (isQuery && cancellation) || null,
      requirements,
      data,
      errors: new ResponseErrors(),
      plain: true,
      outdated: false,
      observed: [],
      traces: explains || reports ? [] : null,
    };
    await node?.(run, { path: [], values: [data] });
    if (!isQuery) this.#flights?.forget();
    return run;
  }

  /** The memory that operations and their plans take, in bytes (estimated). */
  get operationsWeight(): number {
    return this.#operations.weight;
  }

  /** The type of an operation that was run before. */
  typeOf(query: string, operationName: string | undefined): OperationTypeNode | undefined {
    return this.#operations.typeOf(query, operationName);
  }

  /** The bound of an operation that was run before (`@maxStaleness`), in milliseconds: infinite without one; 0 when the operation is not in the cache. */
  maxStalenessOf(query: string, operationName: string | undefined): number {
    return this.#operations.maxStalenessOf(query, operationName);
  }

  #check({ query, operationName, client }: EngineRequest): Promise<CheckedOperation> {
    const key = `check ${JSON.stringify([operationName ?? null, query])}`;
    return this.#planning.run(key, () => this.#operations.check(query, operationName), client);
  }

  #compileOutput(operation: Operation, variables: Readonly<Record<string, unknown>>): Output {
    if (operation.introspection) return { shape: null, write: null };
    const parts = this.#parts(operation, variables, null);
    return { shape: compileShape(operation.definition, parts), write: compileWriter(operation.definition, parts) };
  }

  #introspect(
    operation: Operation,
    request: EngineRequest,
    document: ClientDocument,
    variables: NormalizedVariables,
  ): Shape {
    try {
      return this.#shape(operation, variables);
    } catch (error) {
      return this.#refusal(error, request, document, variables);
    }
  }

  #shape(operation: Operation, { coerced, sent }: NormalizedVariables): Shape {
    const { introspection } = operation;
    if (!introspection) return compileShape(operation.definition, this.#parts(operation, coerced, null));
    const { data, errors } = executeSync({
      schema: this.#apiSchema,
      document: introspection,
      variableValues: sent,
    });
    if (!data) throw errors?.[0] ?? new GraphQLError('The schema could not be read.');
    return compileShape(operation.definition, this.#parts(operation, coerced, data as JsonObject));
  }

  #parts(
    { fragments, responseNames }: Operation,
    variables: Readonly<Record<string, unknown>>,
    introspection: JsonObject | null,
  ) {
    return { schema: this.#apiSchema, fragments, variables, responseNames, introspection };
  }
}

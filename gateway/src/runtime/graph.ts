import { MIN_POSITIONS_HEADER } from '@tributary/consistency';
import { MAX_OPERATION_NAME, OPERATION_NAME_HEADER } from '@tributary/server';
import { type GraphQLError, type GraphQLSchema, OperationTypeNode } from 'graphql';
import { type Logger, pino } from 'pino';
import { CachePolicy, type EntityCache } from '../cache/index.js';
import { minPositionsHeader, type Requirements } from '../consistency/index.js';
import {
  CachedExecutor,
  copyOfResult,
  EntityBatcher,
  EntityKeys,
  type ExecutionContext,
  PlanCompiler,
  type RunNode,
  SubgraphExecutor,
  SubgraphOperations,
} from '../execution/index.js';
import { ResponseErrors } from '../lib/error-list.js';
import type { JsonObject } from '../lib/json.js';
import { credentialsOf } from '../lib/partition-key.js';
import { SingleFlight } from '../lib/single-flight.js';
import { SupergraphSchema } from '../lib/supergraph-schema.js';
import { TypeConditions } from '../lib/type-conditions.js';
import {
  DocumentCache,
  errorWithoutSuggestions,
  type OperationSource,
  type ValidationResult,
  validateCustomScalars,
  withDirectives,
} from '../operation/index.js';
import {
  type CompiledPlan,
  overrideLabels,
  PlanCache,
  type PlannerChoice,
  PlanningQueue,
  type PlanVariant,
  type QueryPlanners,
} from '../planning/index.js';
import type { Fetcher, SubgraphResult } from '../subgraph/index.js';
import { composeHooks, composeOnSubgraphFetch, type Hooks } from './hooks.js';
import type { OperationRequest, OperationResult } from './operation-request.js';
import { runOperation } from './pipeline.js';
import type { GatewayPlugin } from './plugin.js';
import { compileOutput, type Output, type RunningOperation } from './result.js';

export interface GraphOptions {
  readonly supergraphSdl: string;
  /** The schema that clients see. */
  readonly apiSchema: GraphQLSchema;
  readonly planners: QueryPlanners;
  /** By the subgraph's name. */
  readonly fetchers: ReadonlyMap<string, Fetcher>;
  /** Whether equal queries to a subgraph that are in flight at the same time are sent once. */
  readonly shareFetches?: boolean;
  /** Whether entity fetches of a request to one subgraph in one turn of the event loop are sent as one batch. */
  readonly mergeFetches?: boolean;
  /** The most tokens, and the most lines, that a document may have. */
  readonly maxTokens?: number;
  readonly plugins?: readonly GatewayPlugin[];
  readonly logger?: Logger;
  /** The most operations that are cached. */
  readonly maxOperations?: number;
  /** The estimated memory that they may take with their plans, in bytes. */
  readonly maxOperationsWeight?: number | undefined;
  /** Without it, nothing is cached. */
  readonly cache?: EntityCache | null;
  /** Labels of `@override`, with the share of requests for which they are on. */
  readonly labels?: ReadonlyMap<string, number>;
  /** Whether clients may query `__schema` and `__type`. */
  readonly introspection?: boolean;
  /** Whether error messages suggest names of the schema ("Did you mean …?"). */
  readonly suggestions?: boolean;
}

const MAX_TOKENS = 20_000;
const NO_LOG = pino({ level: 'silent' });
/** The most documents that wait to be parsed, and the most operations that wait to be planned. */
const MAX_WAITING = 1000;
/** While one planner is busy for long, the other one still plans. */
const PLANNERS = 2;

/**
 * One supergraph, ready to run operations: its schema, its parsed, planned and compiled operations, and the execution of plans. A new
 * supergraph is a new graph.
 */
export class Graph {
  readonly schema: GraphQLSchema;
  readonly operations: DocumentCache;
  readonly plans: PlanCache<RunNode, Output>;
  readonly cache: EntityCache | null;
  readonly hooks: Hooks;
  readonly types: TypeConditions;
  /** Whether error messages suggest names of the schema. */
  readonly suggestions: boolean;
  readonly #flights: SingleFlight<SubgraphResult> | null;
  readonly #parsing = new PlanningQueue({ limit: MAX_WAITING, isBlocking: true });
  readonly #planners: QueryPlanners;

  constructor(options: GraphOptions) {
    const { supergraphSdl, apiSchema, planners, shareFetches = true, mergeFetches = true, cache = null } = options;
    const { plugins = [], logger = NO_LOG } = options;
    const fetchers = new Map(
      [...options.fetchers].map(([name, send]) => [name, composeOnSubgraphFetch(plugins, name, send, logger)]),
    );
    const hooks = composeHooks(plugins, logger);
    this.hooks = hooks;
    validateCustomScalars(apiSchema);
    this.schema = withDirectives(apiSchema);
    this.#planners = planners;
    this.#flights = shareFetches ? new SingleFlight({ copy: copyOfResult }) : null;
    this.cache = cache;
    const supergraph = new SupergraphSchema(supergraphSdl);
    this.types = new TypeConditions(supergraph.schema);
    const uncached = new SubgraphExecutor(fetchers, this.#flights, cache);
    const executor = cache ? new CachedExecutor(uncached, cache) : uncached;
    const compiler = new PlanCompiler(
      this.types,
      executor,
      new EntityBatcher(executor, mergeFetches),
      new SubgraphOperations(cache ? new CachePolicy(supergraph) : null),
      new EntityKeys(supergraph),
    );
    const { maxTokens = MAX_TOKENS, maxOperations, maxOperationsWeight, labels = new Map() } = options;
    const { introspection = true, suggestions = true } = options;
    this.suggestions = suggestions;
    const { schema } = this;
    const { onParse, onValidate } = hooks;
    this.operations = new DocumentCache(schema, supergraph, {
      maxTokens,
      maxOperations,
      maxWeight: maxOperationsWeight,
      introspection,
      onParse: onParse && ((document, operationName) => onParse({ document, operationName, schema })),
      onValidate: onValidate && ((document, operationName) => onValidate({ document, operationName, schema })),
    });
    this.plans = new PlanCache({
      planners,
      operations: this.operations,
      labels: overrideLabels(supergraph, labels),
      queue: new PlanningQueue({ limit: MAX_WAITING, concurrency: PLANNERS }),
      compilePlan: (node) => compiler.compile(node),
      compileOutput: (operation, variables) => compileOutput(this.schema, operation, variables),
    });
  }

  /** Loads what the graph needs before it serves. @throws Error when its supergraph cannot be planned on */
  load(): Promise<PlannerChoice> {
    return this.#planners.load();
  }

  /** Runs one operation; see `runOperation`. */
  run(request: OperationRequest): Promise<OperationResult> {
    return runOperation(this, request);
  }

  /** Parses a document, and validates a new operation in turn with those of other clients. */
  async parse({ query, operationName, client }: OperationRequest): Promise<ValidationResult> {
    const found = await this.operations.getLater(query, operationName);
    if (found) return found;
    const key = `check ${JSON.stringify([operationName ?? null, query])}`;
    return this.#parsing.run(key, () => this.operations.parseAndValidate(query, operationName), client);
  }

  /**
   * Parses, validates, plans and compiles an operation before a client sends it.
   *
   * @returns its hash; null when its document is invalid
   * @throws when it cannot be planned
   */
  async warm({ query, operationName }: OperationSource, variant: PlanVariant): Promise<string | null> {
    const parsed = this.operations.get(query, operationName) ?? (await this.parse({ query, operationName }));
    if ('errors' in parsed) return null;
    await this.plans.prepareVariant(parsed.operation, variant);
    return parsed.operation.hash;
  }

  /** Errors of a request, as clients may see them. */
  presentRequestErrors(errors: readonly GraphQLError[]): readonly GraphQLError[] {
    return this.suggestions ? errors : errors.map(errorWithoutSuggestions);
  }

  /** Executes a plan for a request; without requirements, nothing is read from the cache. */
  async execute(
    { run }: CompiledPlan<RunNode>,
    { request, document, variables }: RunningOperation,
    requirements: Requirements | null,
    trace: boolean,
  ): Promise<ExecutionContext> {
    const { headers: given = {}, cancellation } = request;
    const { type, operationName } = document;
    const isQuery = type === OperationTypeNode.QUERY;
    const positions = requirements?.positions;
    const headers: Readonly<Record<string, string>> = {
      ...given,
      ...(operationName !== null && { [OPERATION_NAME_HEADER]: operationName.slice(0, MAX_OPERATION_NAME) }),
      ...(positions && positions.size > 0 && { [MIN_POSITIONS_HEADER]: minPositionsHeader(positions) }),
    };
    const data: JsonObject = {};
    const context: ExecutionContext = {
      variables: variables.sent,
      headers,
      credentials: isQuery ? credentialsOf(headers) : null,
      reader: this.cache ? credentialsOf(given) : '',
      cancellation: (isQuery && cancellation) || null,
      requirements,
      data,
      errors: new ResponseErrors(),
      plain: true,
      outdated: false,
      observed: [],
      traces: trace ? [] : null,
    };
    await run?.(context, { path: [], values: [data] });
    if (!isQuery) this.#flights?.forget();
    return context;
  }

  /** The estimated memory that operations and their plans take, in bytes. */
  get operationsWeight(): number {
    return this.operations.weight;
  }
}

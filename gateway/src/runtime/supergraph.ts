import { createHash, timingSafeEqual } from 'node:crypto';
import { ApolloGateway, type SupergraphManager } from '@apollo/gateway';
import {
  type GraphQLRequest,
  type Health,
  MAX_OPERATION_NAME,
  RequestRefusedError,
  refuseChange,
  WrittenResult,
  write,
} from '@tributary/server';
import { GraphQLError, type GraphQLSchema, OperationTypeNode } from 'graphql';
import type { Logger } from 'pino';
import { Gauge, Histogram, type Registry } from 'prom-client';
import type { ResponseCache } from '../cache/response-cache.js';
import { unusableSupergraph } from '../check-files.js';
import type { GatewayConfig, Subgraph } from '../config.js';
import { latest, parseStaleness, type Requirements } from '../consistency/requirements.js';
import { credentialsOf } from '../execution/credentials.js';
import { Abandonment } from '../lib/abandonment.js';
import { causeOf } from '../lib/error-cause.js';
import { clientKey } from '../server/client-key.js';
import { ConsistencyHeaders } from '../server/consistency-headers.js';
import { FailedRequests } from '../server/failed-requests.js';
import { SubgraphDataSource, type SubgraphOptions } from '../subgraph/subgraph-data-source.js';
import { ComposedSupergraph } from '../supergraph/composed-supergraph.js';
import { LastSupergraph } from '../supergraph/last-supergraph.js';
import { schemaChanges } from '../supergraph/schema-changes.js';
import { SupergraphFile } from '../supergraph/supergraph-file.js';
import { supergraphId } from '../supergraph/supergraph-id.js';
import { Engine } from './engine.js';
import { SharedQueries } from './shared-queries.js';

/** However seldom schemas are read, failures of clients' requests are over when there was none for so long after a time-out. */
const LONGEST_QUIET_MS = 10_000;

/** Codes of errors that are no fault of the client's request; DOWNSTREAM_SERVICE_ERROR is one that its subgraph gave no code. */
const FAILURES: ReadonlySet<unknown> = new Set([
  'SUBGRAPH_UNAVAILABLE',
  'TIMEOUT',
  'INTERNAL_SERVER_ERROR',
  'INVALID_SUBGRAPH_RESPONSE',
  'DOWNSTREAM_SERVICE_ERROR',
]);

/** The supergraph that is served now. */
interface LoadedSupergraph {
  readonly id: string;
  readonly loadedAt: Date;
  readonly engine: Engine;
  readonly schema: GraphQLSchema;
  /** The names of its subgraphs. */
  readonly subgraphs: ReadonlySet<string>;
}

/** What a supergraph reports to. */
export interface SupergraphReports {
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly health: Health;
}

/** Loads the supergraph, keeps it current, and runs operations on it. */
export class Supergraph {
  readonly #gateway: ApolloGateway;
  readonly #source: ComposedSupergraph | SupergraphFile;
  /** By subgraph; the newest of each, and those before it, which requests under way may still ask. */
  readonly #dataSources = new Map<string, SubgraphDataSource>();
  readonly #earlierDataSources: SubgraphDataSource[] = [];
  /** Requests that failed, where no subgraph is named as the cause. */
  readonly #failedRequests: FailedRequests;
  readonly #config: GatewayConfig;
  readonly #defaultStalenessMs: number;
  readonly #cache: ResponseCache | null;
  readonly #consistencyHeaders: ConsistencyHeaders;
  readonly #sharedQueries = new SharedQueries();
  readonly #last: LastSupergraph | null;
  #loaded: LoadedSupergraph | null = null;
  /** Why the newest supergraph could not be put to use; null when it could. */
  #refusal: string | null = null;
  #loading: Promise<unknown> = Promise.resolve();
  #closing = false;
  #ending: NodeJS.Timeout | undefined;

  constructor(config: GatewayConfig, { logger, metrics, health }: SupergraphReports, cache: ResponseCache | null) {
    this.#config = config;
    this.#consistencyHeaders = new ConsistencyHeaders(logger);
    this.#cache = cache;
    this.#defaultStalenessMs = config.MAX_STALENESS ?? Number.POSITIVE_INFINITY;
    this.#failedRequests = new FailedRequests(logger, 'requests failed');
    const { SUPERGRAPH_PATH, SUPERGRAPH_POLL_INTERVAL: pollIntervalMs, SUPERGRAPH_FALLBACK } = config;
    const subgraphs = config.SUBGRAPHS.map(withoutCredentials);
    const keepsLast = SUPERGRAPH_FALLBACK !== undefined && !SUPERGRAPH_PATH;
    this.#last = keepsLast ? new LastSupergraph(SUPERGRAPH_FALLBACK, config, subgraphs, logger) : null;
    this.#source = SUPERGRAPH_PATH
      ? new SupergraphFile(SUPERGRAPH_PATH, pollIntervalMs, logger)
      : new ComposedSupergraph({ subgraphs, pollIntervalMs, logger, last: this.#last });
    health.add({
      name: 'supergraph',
      required: false,
      check: () => (this.#loaded ? (this.#problem ?? this.#last?.problem ?? null) : null),
    });
    const durations = new Histogram({
      name: 'gateway_subgraph_fetch_duration_seconds',
      help: 'Time that a fetch from a subgraph took',
      labelNames: ['subgraph', 'outcome'] as const,
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers: [metrics],
    });
    const open = new Gauge({
      name: 'gateway_subgraph_circuit_open',
      help: '1 while a subgraph is not asked because it did not answer',
      labelNames: ['subgraph'] as const,
      registers: [metrics],
      aggregator: 'max',
    });
    const isStale = () => this.#problem !== null;
    new Gauge({
      name: 'gateway_supergraph_stale',
      help: '1 while the newest supergraph could not be loaded and an older one (or none) is served',
      registers: [metrics],
      aggregator: 'max',
      collect() {
        this.set(isStale() ? 1 : 0);
      },
    });
    const operationsWeight = () => this.#loaded?.engine.operationsWeight ?? 0;
    new Gauge({
      name: 'gateway_operations_bytes',
      help: 'Estimated memory of the operations that are kept planned',
      registers: [metrics],
      aggregator: 'sum',
      collect() {
        this.set(operationsWeight());
      },
    });
    // The gateway would send usage figures to Apollo; nobody asked for that here.
    process.env.APOLLO_TELEMETRY_DISABLED ??= 'true';
    this.#gateway = new ApolloGateway({
      supergraphSdl: loadable(this.#source),
      logger: apolloLogger(logger),
      buildService: ({ name, url = '' }) => {
        const configured = config.SUPERGRAPH_PATH ? undefined : config.SUBGRAPHS.find((each) => each.name === name);
        const reported = { durations, open, onPosition: (source: string) => cache?.expect(source) };
        const dataSource = new SubgraphDataSource(
          configured ?? { name, url },
          subgraphOptions(config),
          reported,
          logger,
        );
        const earlier = this.#dataSources.get(name);
        if (earlier) this.#earlierDataSources.push(earlier);
        else {
          const check = () =>
            this.#loaded?.subgraphs.has(name) ? (this.#dataSources.get(name)?.problem ?? null) : null;
          health.add({ name: `subgraph ${name}`, required: false, check });
        }
        this.#dataSources.set(name, dataSource);
        return dataSource;
      },
    });
    this.#gateway.onSchemaLoadOrUpdate(({ apiSchema, coreSupergraphSdl }) => {
      // Apollo's gateway would only log it.
      try {
        this.#use(apiSchema, coreSupergraphSdl, logger);
        this.#refusal = null;
      } catch (error) {
        this.#refusal = (error as Error).message;
        logger.error({ err: error }, 'a new supergraph cannot be served; the one before is, if there is one');
      }
    });
  }

  /** Serves a supergraph from now on. @throws when it cannot be */
  #use(apiSchema: GraphQLSchema, supergraphSdl: string, logger: Logger): void {
    const config = this.#config;
    const id = supergraphId(supergraphSdl);
    const fetchers = new Map([...this.#dataSources].map(([name, { send }]) => [name, send]));
    const engine = new Engine({
      supergraphSdl,
      apiSchema,
      fetchers,
      shareFetches: config.SUBGRAPH_FETCH_DEDUPLICATION,
      mergeFetches: config.ENTITY_BATCHING,
      limits: {
        tokens: config.MAX_OPERATION_TOKENS,
        depth: config.MAX_OPERATION_DEPTH,
        aliases: config.MAX_OPERATION_ALIASES,
        fields: config.MAX_OPERATION_FIELDS,
      },
      maxOperations: config.MAX_OPERATIONS,
      labels: config.OVERRIDE_LABELS,
      cache: this.#cache,
      introspection: config.INTROSPECTION,
      suggestions: config.SUGGESTIONS,
    });
    const subgraphs = new Set(
      [...supergraphSdl.matchAll(/@join__graph\(name: "([^"]+)"/g)].map(([, name = '']) => name),
    );
    const earlier = this.#loaded;
    const changes = earlier && {
      joined: [...subgraphs].filter((name) => !earlier.subgraphs.has(name)),
      left: [...earlier.subgraphs].filter((name) => !subgraphs.has(name)),
      ...schemaChanges(earlier.schema, apiSchema),
    };
    this.#loaded = { id, loadedAt: new Date(), engine, schema: apiSchema, subgraphs };
    logger.info({ supergraph: id, subgraphs: [...subgraphs], ...changes }, 'serving a new supergraph');
  }

  get #problem(): string | null {
    return this.#refusal ?? this.#source.problem;
  }

  /** Starts to load; resolves when there is something to serve, or when it was closed before. @throws when there never can be */
  load(): Promise<unknown> {
    const { SUPERGRAPH_PATH } = this.#config;
    this.#loading = this.#gateway.load().catch((error) => {
      if (!this.#closing) throw SUPERGRAPH_PATH ? unusableSupergraph(SUPERGRAPH_PATH, error) : error;
    });
    return this.#loading;
  }

  /** What operators are told. */
  get state() {
    const problem = this.#problem;
    const loaded = this.#loaded && { id: this.#loaded.id, loadedAt: this.#loaded.loadedAt };
    return { ready: loaded !== null, supergraph: loaded, problem };
  }

  /** Runs one operation; what a subgraph could not give comes as an error beside the rest. */
  async run(request: GraphQLRequest): Promise<WrittenResult> {
    const loaded = this.#loaded;
    if (!loaded) {
      const why = this.#problem ?? 'it is being loaded';
      throw new RequestRefusedError(503, 'SUBGRAPH_UNAVAILABLE', `There is no supergraph to serve yet: ${why}`);
    }
    const headers = this.#forwardedHeaders(request);
    const isQuery = loaded.engine.typeOf(request.query, request.operationName) === OperationTypeNode.QUERY;
    if (!isQuery || !this.#config.CLIENT_QUERY_DEDUPLICATION || this.#isBounded(request, loaded)) {
      const abandonment = new Abandonment();
      request.onGone(() => abandonment.happen());
      return this.#execute(loaded, request, headers, abandonment);
    }
    const demands = [request.http.headers['x-freshness'] !== undefined, this.#consistencyHeaders.find(request)];
    const epoch = this.#cache?.epoch ?? 0;
    const key = JSON.stringify([
      loaded.id,
      epoch,
      this.#explains(request),
      credentialsOf(headers),
      demands,
      request.text,
    ]);
    return this.#sharedQueries.run(key, request, (abandonment) => this.#execute(loaded, request, headers, abandonment));
  }

  async #execute(
    { engine }: LoadedSupergraph,
    request: GraphQLRequest,
    headers: Readonly<Record<string, string>>,
    abandonment: Abandonment,
  ): Promise<WrittenResult> {
    const { query, operationName, variables, method, http } = request;
    let changes = false;
    const allow = (type: OperationTypeNode) => {
      changes = type === OperationTypeNode.MUTATION;
      refuseChange(type, method);
    };
    try {
      const explain = this.#explains(request);
      const requirements = this.#requirementsOf(request);
      const result = await engine.run({
        query,
        operationName,
        client: clientKey(http.ip),
        variables,
        headers,
        requestId: http.id,
        requirements,
        abandonment,
        explain,
        reportFreshness: http.headers['x-freshness'] !== undefined,
        allow,
      });
      if (changes) this.#sharedQueries.forget();
      if ('errors' in result && !abandonment.happened) this.#reportFailures(result.errors, request);
      const session =
        result.positions && this.#consistencyHeaders.write(request, latest(requirements.positions, result.positions));
      if ('text' in result) return new WrittenResult(result.text, true, session);
      const { positions: _, ...answer } = result;
      return answer.data === undefined ? write(answer.errors ?? [], http) : write(answer, http, session);
    } catch (error) {
      if (!(error instanceof GraphQLError) || error instanceof RequestRefusedError) throw error;
      const { code } = error.extensions;
      if (code === 'RATE_LIMITED') throw new RequestRefusedError(429, code, error.message, { 'retry-after': '1' });
      if (code === 'INTERNAL_SERVER_ERROR' && error.originalError)
        http.log.error({ err: error.originalError }, 'the query planner failed');
      this.#reportFailures([error], request);
      return write([error], http);
    }
  }

  /** Counts a request as failed, once for each subgraph that its errors name. */
  #reportFailures(errors: readonly GraphQLError[] = [], { query, operationName, http }: GraphQLRequest): void {
    const failed = new Map<FailedRequests, GraphQLError['extensions']>();
    for (const { extensions } of errors) {
      if (!FAILURES.has(extensions.code)) continue;
      const requests = this.#dataSources.get(String(extensions.subgraph))?.failedRequests ?? this.#failedRequests;
      // Those that follow may be consequences of the first.
      if (!failed.has(requests)) failed.set(requests, extensions);
    }
    if (failed.size === 0) return;
    const operation = operationName ?? /^\s*(?:query|mutation)\s+(\w+)/.exec(query)?.[1];
    for (const [requests, extensions] of failed) {
      requests.add({
        code: String(extensions.code),
        operation: operation?.slice(0, MAX_OPERATION_NAME),
        reqId: http.id,
        cause: causeOf(extensions),
      });
    }
  }

  /** Whether the request or its operation says how stale the answer may be. */
  #isBounded({ http, query, operationName }: GraphQLRequest, { engine }: LoadedSupergraph): boolean {
    return (
      http.headers['x-max-staleness'] !== undefined ||
      Number.isFinite(this.#defaultStalenessMs) ||
      Number.isFinite(engine.maxStalenessOf(query, operationName))
    );
  }

  /** @throws ApiError BAD_USER_INPUT for a session or a time that is none */
  #requirementsOf(request: GraphQLRequest): Requirements {
    const bound = request.http.headers['x-max-staleness'];
    return {
      positions: this.#consistencyHeaders.read(request),
      maxStalenessMs: typeof bound === 'string' ? parseStaleness(bound) : this.#defaultStalenessMs,
    };
  }

  /** Whether the client asks, and may be told, how its answer comes about. */
  #explains({ http }: GraphQLRequest): boolean {
    const asked = http.headers['x-explain'];
    if (typeof asked !== 'string') return false;
    const { isProduction, EXPLAIN_TOKEN } = this.#config;
    return isProduction ? EXPLAIN_TOKEN !== undefined && isSame(asked, EXPLAIN_TOKEN) : true;
  }

  #forwardedHeaders({ http }: GraphQLRequest): Record<string, string> {
    const headers: Record<string, string> = {};
    for (const { name } of this.#config.PROPAGATED_HEADERS) {
      const value = name === 'x-request-id' ? http.id : http.headers[name];
      if (typeof value === 'string') headers[name] = value;
    }
    return headers;
  }

  /** Requests that wait for a subgraph when so much time has passed are answered without it: the gateway is about to be closed. */
  endIn(ms: number): void {
    clearTimeout(this.#ending);
    const end = () => {
      this.#source.stop();
      void this.#closeDataSources();
    };
    this.#ending = setTimeout(end, ms).unref();
  }

  /** Ends what is left. */
  async close(): Promise<void> {
    clearTimeout(this.#ending);
    this.#closing = true;
    this.#source.stop();
    this.#last?.close();
    await this.#loading.catch(() => undefined);
    if (this.#loaded) await this.#gateway.stop();
    await this.#closeDataSources();
  }

  /** Requests that wait for a subgraph are answered with an error. */
  async #closeDataSources(): Promise<void> {
    const dataSources = [...this.#dataSources.values(), ...this.#earlierDataSources];
    await Promise.all(dataSources.map((dataSource) => dataSource.close()));
    this.#failedRequests.close();
  }
}

/**
 * Apollo's gateway refuses supergraphs with contexts, because it does not run them itself; our engine does. It is not told that
 * they are needed. (What else it refuses is refused: nobody here would see to it.)
 */
function loadable(source: SupergraphManager): SupergraphManager {
  const withoutNeed = (supergraphSdl: string) =>
    supergraphSdl.replace(/(@link\(url: "https:\/\/specs\.apollo\.dev\/context\/[^")]*"), for: SECURITY/, '$1');
  return {
    async initialize(hooks) {
      const update = (supergraphSdl: string) => hooks.update(withoutNeed(supergraphSdl));
      const { supergraphSdl, cleanup } = await source.initialize({ ...hooks, update });
      return { supergraphSdl: withoutNeed(supergraphSdl), ...(cleanup && { cleanup }) };
    },
  };
}

/** A subgraph as composition is told of it, which puts its URL into the supergraph and into messages. */
export function withoutCredentials({ name, url }: Subgraph): Subgraph {
  const shown = new URL(url);
  shown.username = '';
  shown.password = '';
  return { name, url: shown.href };
}

export function subgraphOptions(config: GatewayConfig): SubgraphOptions {
  return {
    timeoutMs: config.SUBGRAPH_TIMEOUT,
    maxBytes: config.SUBGRAPH_MAX_RESPONSE,
    breakAfter: config.CIRCUIT_BREAKER_FAILURES,
    breakMs: config.CIRCUIT_BREAKER_RESET,
    quietMs: config.SUBGRAPH_TIMEOUT + Math.min(config.SUPERGRAPH_POLL_INTERVAL, LONGEST_QUIET_MS),
    headers: config.PROPAGATED_HEADERS,
  };
}

/** Compares secrets in a time that says nothing of where they differ. */
function isSame(given: string, secret: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(secret));
}

function apolloLogger(logger: Logger) {
  return {
    debug: (message?: unknown) => logger.trace(String(message)),
    info: (message?: unknown) => logger.debug(String(message)),
    warn: (message?: unknown) => logger.debug(String(message)),
    error: (message?: unknown) => logger.error(String(message)),
  };
}

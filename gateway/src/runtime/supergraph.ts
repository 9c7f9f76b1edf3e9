import { createHash, timingSafeEqual } from 'node:crypto';
import {
  type GraphQLRequest,
  type Health,
  MAX_OPERATION_NAME,
  RequestRefusedError,
  refuseChange,
  WrittenResult,
  write,
} from '@tributary/server';
import { GraphQLError, OperationTypeNode } from 'graphql';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import type { EntityCache } from '../cache/index.js';
import { unusableSupergraph } from '../check-files.js';
import type { GatewayConfig } from '../config.js';
import { latest, parseStaleness, type Requirements } from '../consistency/index.js';
import { credentialsOf } from '../execution/credentials.js';
import { causeOf } from '../lib/error-cause.js';
import { FailedRequests } from '../lib/failed-requests.js';
import { type Cancellation, LazyAbortController } from '../lib/lazy-abort-controller.js';
import { openGraphs } from '../open-graphs.js';
import { clientKey } from '../server/client-key.js';
import { ConsistencyHeaders } from '../server/consistency-headers.js';
import { Engine } from './engine.js';
import type { GraphManager, LoadedGraph } from './graph-manager.js';
import { SharedQueries } from './shared-queries.js';

/** Codes of errors that are no fault of the client's request; DOWNSTREAM_SERVICE_ERROR is one that its subgraph gave no code. */
const FAILURES: ReadonlySet<unknown> = new Set([
  'SUBGRAPH_UNAVAILABLE',
  'TIMEOUT',
  'INTERNAL_SERVER_ERROR',
  'INVALID_SUBGRAPH_RESPONSE',
  'DOWNSTREAM_SERVICE_ERROR',
]);

type LoadedSupergraph = LoadedGraph<Engine>;

/** What a supergraph reports to. */
export interface SupergraphReports {
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly health: Health;
}

/** Loads the supergraph, keeps it current, and runs operations on it. */
export class Supergraph {
  readonly #graphs: GraphManager<Engine>;
  /** Requests that failed, where no subgraph is named as the cause. */
  readonly #failedRequests: FailedRequests;
  readonly #config: GatewayConfig;
  readonly #defaultStalenessMs: number;
  readonly #cache: EntityCache | null;
  readonly #consistencyHeaders: ConsistencyHeaders;
  readonly #sharedQueries = new SharedQueries();
  constructor(config: GatewayConfig, { logger, metrics, health }: SupergraphReports, cache: EntityCache | null) {
    this.#config = config;
    this.#consistencyHeaders = new ConsistencyHeaders(logger);
    this.#cache = cache;
    this.#defaultStalenessMs = config.MAX_STALENESS ?? Number.POSITIVE_INFINITY;
    this.#failedRequests = new FailedRequests(logger, 'requests failed');
    this.#graphs = openGraphs<Engine>(
      config,
      { logger, metrics, health },
      {
        createGraph: (parts) =>
          new Engine({
            ...parts,
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
            cache,
            introspection: config.INTROSPECTION,
            suggestions: config.SUGGESTIONS,
          }),
        onPosition: (source) => cache?.expect(source),
      },
    );
    const operationsWeight = () => this.#graphs.loaded?.graph.operationsWeight ?? 0;
    new Gauge({
      name: 'gateway_operations_bytes',
      help: 'Estimated memory of the operations that are kept planned',
      registers: [metrics],
      aggregator: 'sum',
      collect() {
        this.set(operationsWeight());
      },
    });
  }

  /** Starts to load; resolves when there is something to serve, or when it was closed before. @throws when there never can be */
  load(): Promise<unknown> {
    const { SUPERGRAPH_PATH } = this.#config;
    return this.#graphs.load().catch((error) => {
      throw SUPERGRAPH_PATH ? unusableSupergraph(SUPERGRAPH_PATH, error) : error;
    });
  }

  /** What operators are told. */
  get state() {
    return this.#graphs.state;
  }

  /** Runs one operation; what a subgraph could not give comes as an error beside the rest. */
  async run(request: GraphQLRequest): Promise<WrittenResult> {
    const { loaded } = this.#graphs;
    if (!loaded) {
      const why = this.#graphs.problem ?? 'it is being loaded';
      throw new RequestRefusedError(503, 'SUBGRAPH_UNAVAILABLE', `There is no supergraph to serve yet: ${why}`);
    }
    const headers = this.#forwardedHeaders(request);
    const isQuery = loaded.graph.typeOf(request.query, request.operationName) === OperationTypeNode.QUERY;
    if (!isQuery || !this.#config.CLIENT_QUERY_DEDUPLICATION || this.#isBounded(request, loaded)) {
      const controller = new LazyAbortController();
      request.onGone(() => controller.abort());
      return this.#execute(loaded, request, headers, controller);
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
    return this.#sharedQueries.run(key, request, (flight) => this.#execute(loaded, request, headers, flight));
  }

  async #execute(
    { graph: engine }: LoadedSupergraph,
    request: GraphQLRequest,
    headers: Readonly<Record<string, string>>,
    cancellation: Cancellation & { readonly aborted: boolean },
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
        cancellation,
        explain,
        reportFreshness: http.headers['x-freshness'] !== undefined,
        allow,
      });
      if (changes) this.#sharedQueries.forget();
      if ('errors' in result && !cancellation.aborted) this.#reportFailures(result.errors, request);
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
      const requests = this.#graphs.subgraph(String(extensions.subgraph))?.failedRequests ?? this.#failedRequests;
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
  #isBounded({ http, query, operationName }: GraphQLRequest, { graph: engine }: LoadedSupergraph): boolean {
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
    this.#graphs.endIn(ms);
  }

  /** Ends what is left. */
  async close(): Promise<void> {
    await this.#graphs.close();
    this.#failedRequests.close();
  }
}

/** Compares secrets in a time that says nothing of where they differ. */
function isSame(given: string, secret: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(given), digest(secret));
}

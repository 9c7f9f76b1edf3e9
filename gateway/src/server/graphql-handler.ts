import {
  type GraphQLRequest,
  MAX_OPERATION_NAME,
  RequestRefusedError,
  refuseChange,
  WrittenResult,
  write,
} from '@tributary/server';
import { GraphQLError, OperationTypeNode } from 'graphql';
import type { Logger } from 'pino';
import { latest, parseStaleness, type Requirements } from '../consistency/index.js';
import { causeOf } from '../lib/error-cause.js';
import { FailedRequests } from '../lib/failed-requests.js';
import { type Cancellation, LazyAbortController } from '../lib/lazy-abort-controller.js';
import { credentialsOf } from '../lib/partition-key.js';
import type { Graph } from '../runtime/graph.js';
import type { GraphManager, LoadedGraph } from '../runtime/graph-manager.js';
import { SharedQueries } from '../runtime/shared-queries.js';
import { clientKey } from './client-key.js';
import { ConsistencyHeaders } from './consistency-headers.js';

/** Codes of errors that are no fault of the client's request; DOWNSTREAM_SERVICE_ERROR is one that its subgraph gave no code. */
const FAILURES: ReadonlySet<unknown> = new Set([
  'SUBGRAPH_UNAVAILABLE',
  'TIMEOUT',
  'INTERNAL_SERVER_ERROR',
  'INVALID_SUBGRAPH_RESPONSE',
  'DOWNSTREAM_SERVICE_ERROR',
]);

type LoadedSupergraph = LoadedGraph<Graph>;

export interface GraphQLHandlerOptions {
  /** The bound on staleness of requests without one, in milliseconds; infinite without a bound. */
  readonly defaultStalenessMs: number;
  /** Whether equal queries at the same time share one execution. */
  readonly deduplicatesQueries: boolean;
  /** The names of the headers that are forwarded to subgraphs. */
  readonly forwardedHeaders: readonly string[];
  /** Whether a value of the header `x-explain` entitles a client to an explanation. */
  readonly mayExplain: (token: string) => boolean;
  /** Changes with each invalidation: a query that comes after one is not answered with the result of an earlier one. */
  readonly cacheEpoch: () => number;
  readonly logger: Logger;
}

/** Turns HTTP requests into operations on the loaded graph, and results into HTTP responses. */
export class GraphQLHandler {
  readonly #graphs: GraphManager<Graph>;
  readonly #options: GraphQLHandlerOptions;
  /** Failed requests whose cause is no subgraph. */
  readonly #failedRequests: FailedRequests;
  readonly #consistencyHeaders: ConsistencyHeaders;
  readonly #sharedQueries = new SharedQueries();

  constructor(graphs: GraphManager<Graph>, options: GraphQLHandlerOptions) {
    this.#graphs = graphs;
    this.#options = options;
    this.#consistencyHeaders = new ConsistencyHeaders(options.logger);
    this.#failedRequests = new FailedRequests(options.logger, 'requests failed');
  }

  /**
   * Runs one operation. Failures of subgraphs are errors beside the data.
   *
   * @throws RequestRefusedError 503 while there is no supergraph, 429 when too many operations wait to be planned
   */
  async run(request: GraphQLRequest): Promise<WrittenResult> {
    const { loaded } = this.#graphs;
    if (!loaded) {
      const why = this.#graphs.problem ?? 'it is being loaded';
      throw new RequestRefusedError(503, 'SUBGRAPH_UNAVAILABLE', `There is no supergraph to serve yet: ${why}`);
    }
    const headers = this.#forwardedHeaders(request);
    const cached =
      this.#options.deduplicatesQueries && loaded.graph.operations.find(request.query, request.operationName);
    if (!cached || cached.type !== OperationTypeNode.QUERY || this.#isBounded(request, cached.maxStalenessMs)) {
      const controller = new LazyAbortController();
      request.onGone(() => controller.abort());
      return this.#execute(loaded, request, headers, controller);
    }
    const demands = [request.http.headers['x-freshness'] !== undefined, this.#consistencyHeaders.find(request)];
    const epoch = this.#options.cacheEpoch();
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
    { graph }: LoadedSupergraph,
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
      const result = await graph.run({
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

  /** Whether the request, the configuration or the operation bounds the staleness of the response. */
  #isBounded({ http }: GraphQLRequest, maxStalenessMs: number): boolean {
    return (
      http.headers['x-max-staleness'] !== undefined ||
      Number.isFinite(this.#options.defaultStalenessMs) ||
      Number.isFinite(maxStalenessMs)
    );
  }

  /** @throws ApiError BAD_USER_INPUT for a malformed consistency token or duration */
  #requirementsOf(request: GraphQLRequest): Requirements {
    const bound = request.http.headers['x-max-staleness'];
    return {
      positions: this.#consistencyHeaders.read(request),
      maxStalenessMs: typeof bound === 'string' ? parseStaleness(bound) : this.#options.defaultStalenessMs,
    };
  }

  /** Whether the client asks for an explanation, and may have one. */
  #explains({ http }: GraphQLRequest): boolean {
    const token = http.headers['x-explain'];
    return typeof token === 'string' && this.#options.mayExplain(token);
  }

  #forwardedHeaders({ http }: GraphQLRequest): Record<string, string> {
    const headers: Record<string, string> = {};
    for (const name of this.#options.forwardedHeaders) {
      const value = name === 'x-request-id' ? http.id : http.headers[name];
      if (typeof value === 'string') headers[name] = value;
    }
    return headers;
  }

  close(): void {
    this.#failedRequests.close();
  }
}

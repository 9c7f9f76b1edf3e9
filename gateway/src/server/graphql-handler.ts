import {
  type GraphQLRequest,
  MAX_OPERATION_NAME,
  RequestRefusedError,
  refuseChange,
  WrittenResult,
  write,
} from '@tributary/server';
import { GraphQLError, type OperationTypeNode } from 'graphql';
import type { Logger } from 'pino';
import { latest, parseStaleness, type Requirements } from '../consistency/index.js';
import { causeOf } from '../lib/error-cause.js';
import { FailedRequests } from '../lib/failed-requests.js';
import { type Cancellation, LazyAbortController } from '../lib/lazy-abort-controller.js';
import { credentialsOf } from '../lib/partition-key.js';
import {
  type ClientRequest,
  checkChange,
  composeOnRequest,
  type GatewayPlugin,
  type Graph,
  type GraphManager,
  type LoadedGraph,
  PluginError,
  type RequestChange,
  type RunRequest,
} from '../runtime/index.js';
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

export interface GraphQLHandlerOptions {
  /** The bound on staleness of requests without one, in milliseconds; infinite without a bound. */
  readonly defaultStalenessMs: number;
  /** The names of the headers that are forwarded to subgraphs. */
  readonly forwardedHeaders: readonly string[];
  /** Changes with each invalidation. */
  readonly cacheEpoch: () => number;
  /** Run in this order around each request. */
  readonly plugins: readonly GatewayPlugin[];
  readonly logger: Logger;
}

/** Turns HTTP requests into operations on the loaded graph, and results into HTTP responses. */
export class GraphQLHandler {
  readonly #graphs: GraphManager<Graph>;
  readonly #options: GraphQLHandlerOptions;
  /** Failed requests whose cause is no subgraph. */
  readonly #failedRequests: FailedRequests;
  readonly #consistencyHeaders: ConsistencyHeaders;
  readonly #run: RunRequest;

  constructor(graphs: GraphManager<Graph>, options: GraphQLHandlerOptions) {
    this.#graphs = graphs;
    this.#options = options;
    this.#consistencyHeaders = new ConsistencyHeaders(options.logger);
    this.#failedRequests = new FailedRequests(options.logger, 'requests failed');
    this.#run = composeOnRequest(options.plugins, (request, cancellation) => this.#execute(request, cancellation));
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
    const running = new RunningRequest(request, loaded, this.#options, this.#consistencyHeaders);
    try {
      return await this.#run(running);
    } catch (error) {
      if (!(error instanceof GraphQLError) || error instanceof RequestRefusedError) throw error;
      const { originalError: cause } = error;
      const { code } = error.extensions;
      if (code === 'RATE_LIMITED') throw new RequestRefusedError(429, code, error.message, { 'retry-after': '1' });
      if (code === 'INTERNAL_SERVER_ERROR' && cause) {
        const what = cause instanceof PluginError ? 'a plug-in failed' : 'the query planner failed';
        request.http.log.error({ err: cause }, what);
      }
      this.#reportFailures([error], request);
      return write([error], request.http);
    }
  }

  async #execute(request: ClientRequest, given?: Cancellation & { readonly aborted: boolean }): Promise<WrittenResult> {
    const { query, operationName, variables, method, http } = request;
    const { loaded, headers } = request as RunningRequest;
    const cancellation = given ?? cancellationOf(request);
    const allow = (type: OperationTypeNode) => refuseChange(type, method);
    const requirements = this.#requirementsOf(request);
    const result = await loaded.graph.run({
      query,
      operationName,
      client: clientKey(http.ip),
      variables,
      headers,
      clientHeaders: http.headers,
      requestId: http.id,
      requirements,
      cancellation,
      allow,
    });
    if ('errors' in result && !cancellation.aborted) this.#reportFailures(result.errors, request);
    const token =
      result.positions && this.#consistencyHeaders.write(request, latest(requirements.positions, result.positions));
    if ('text' in result) return new WrittenResult(result.text, true, token);
    const { positions: _, ...values } = result;
    return values.data === undefined ? write(values.errors ?? [], http) : write(values, http, token);
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

  /** @throws ApiError BAD_USER_INPUT for a malformed consistency token or duration */
  #requirementsOf(request: GraphQLRequest): Requirements {
    const bound = request.http.headers['x-max-staleness'];
    return {
      positions: this.#consistencyHeaders.read(request),
      maxStalenessMs: typeof bound === 'string' ? parseStaleness(bound) : this.#options.defaultStalenessMs,
    };
  }

  close(): void {
    this.#failedRequests.close();
  }
}

/** A client's request on the graph that was loaded when it arrived. */
class RunningRequest implements ClientRequest {
  readonly query: string;
  readonly operationName: string | undefined;
  readonly variables: GraphQLRequest['variables'];
  readonly method: GraphQLRequest['method'];
  readonly text: string;
  readonly http: GraphQLRequest['http'];
  readonly onGone: GraphQLRequest['onGone'];
  readonly loaded: LoadedGraph<Graph>;
  /** The headers that subgraphs are sent. */
  readonly headers: Readonly<Record<string, string>>;
  readonly #options: GraphQLHandlerOptions;
  readonly #consistencyHeaders: ConsistencyHeaders;
  #cached: ReturnType<Graph['operations']['find']>;

  constructor(
    request: GraphQLRequest,
    loaded: LoadedGraph<Graph>,
    options: GraphQLHandlerOptions,
    consistencyHeaders: ConsistencyHeaders,
  ) {
    this.query = request.query;
    this.operationName = request.operationName;
    this.variables = request.variables;
    this.method = request.method;
    this.text = request.text;
    this.http = request.http;
    this.onGone = request.onGone;
    this.loaded = loaded;
    this.headers = forwardedHeaders(request, options.forwardedHeaders);
    this.#options = options;
    this.#consistencyHeaders = consistencyHeaders;
  }

  get supergraphId() {
    return this.loaded.id;
  }

  get cacheEpoch() {
    return this.#options.cacheEpoch();
  }

  operationType() {
    return this.#operation()?.type;
  }

  isStalenessBounded() {
    return (
      this.http.headers['x-max-staleness'] !== undefined ||
      Number.isFinite(this.#options.defaultStalenessMs) ||
      Number.isFinite(this.#operation()?.maxStalenessMs ?? 0)
    );
  }

  partitionKey() {
    return JSON.stringify([credentialsOf(this.headers), this.#consistencyHeaders.find(this)]);
  }

  with(change: RequestChange): RunningRequest {
    const { query, ...others } = { ...this, ...change };
    const operationName = others.operationName ?? undefined;
    const variables = others.variables ?? {};
    checkChange({ query, operationName, variables });
    // Deduplication compares texts: equal ones must be equal requests.
    const text = JSON.stringify({ query, operationName, variables });
    const { method, http, onGone } = this;
    const changed = { query, operationName, variables, method, text, http, onGone };
    return new RunningRequest(changed, this.loaded, this.#options, this.#consistencyHeaders);
  }

  #operation() {
    this.#cached ??= this.loaded.graph.operations.find(this.query, this.operationName);
    return this.#cached;
  }
}

/** Aborts when the client of a request has disconnected. */
function cancellationOf(request: ClientRequest): LazyAbortController {
  const controller = new LazyAbortController();
  request.onGone(() => controller.abort());
  return controller;
}

function forwardedHeaders({ http }: GraphQLRequest, names: readonly string[]): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of names) {
    const value = name === 'x-request-id' ? http.id : http.headers[name];
    if (typeof value === 'string') headers[name] = value;
  }
  return headers;
}

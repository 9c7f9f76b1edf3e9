import { type ErrorCode, systemTime, type Time } from '@tributary/server';
import type { Logger } from 'pino';
import { Pool } from 'undici';
import { withCause } from '../lib/error-cause.js';
import { FailedRequests } from '../lib/failed-requests.js';
import { FetchError } from './fetch-error.js';
import type { FetchMetrics } from './fetch-metrics.js';
import { NotGraphQLError, readResult, STATUS_CODES } from './graphql-result.js';
import { AbandonedError, DeadlineError, post, TooLargeError, UnreadableError } from './http-post.js';
import { type Dispatch, type Interceptor, intercept } from './interceptor.js';
import { OutageDetector } from './outage-detector.js';
import { requestHeaders } from './request-headers.js';
import { retryBrokenConnections } from './retry.js';
import type {
  Fetcher,
  HeaderRule,
  Subgraph,
  SubgraphClient,
  SubgraphRequest,
  SubgraphResult,
} from './subgraph-client.js';

const CONNECTIONS = 64;
/** Time limit for a connection. */
const CONNECT_MS = 3000;
/** An operation that every GraphQL service executes, at little cost. */
const PROBE = '{ __typename }';

export interface HttpSubgraphOptions {
  /** Time limit of one request, from the wait for a connection to the last byte. */
  readonly timeoutMs: number;
  /** Largest response that is read, in bytes, decompressed. */
  readonly maxBytes: number;
  /** Consecutive failures that open the circuit breaker; 0 disables it. */
  readonly breakerFailures: number;
  /** Time after which an open circuit breaker probes the subgraph at first. */
  readonly breakerResetMs: number;
  /** Failures of clients' requests alone are over when there was none for this time. */
  readonly quietMs: number;
  /** Headers of clients that are forwarded. */
  readonly headers: readonly HeaderRule[];
}

export interface HttpSubgraphReports {
  readonly logger: Logger;
  /** Null: nothing is measured. */
  readonly metrics: FetchMetrics | null;
  /** Called when the subgraph reports a position of its own with a result. */
  readonly onPosition?: (subgraph: string) => void;
  readonly time?: Time;
}

/**
 * A client of one subgraph over HTTP/1.1 with kept-alive connections, composed of interceptors: metrics, outage detection with a circuit
 * breaker, headers, and retries, around a POST with a deadline and a size limit. A subgraph that is down, slow, or responds with something
 * else than GraphQL becomes an error with a code (SUBGRAPH_UNAVAILABLE, TIMEOUT) in the result.
 */
export class HttpSubgraph implements SubgraphClient {
  /** Clients' requests whose responses lack data of this subgraph. */
  readonly failedRequests: FailedRequests;
  readonly #subgraph: Subgraph;
  readonly #pool: Pool;
  readonly #options: HttpSubgraphOptions;
  readonly #outages: OutageDetector;
  readonly #onPosition: ((subgraph: string) => void) | undefined;
  readonly #dispatch: Dispatch;
  #closed = false;

  constructor(subgraph: Subgraph, options: HttpSubgraphOptions, reports: HttpSubgraphReports) {
    const url = new URL(subgraph.url);
    const { timeoutMs, maxBytes, breakerFailures, breakerResetMs, quietMs, headers } = options;
    const { logger, metrics, onPosition, time = systemTime } = reports;
    const { name } = subgraph;
    this.#subgraph = subgraph;
    this.#options = options;
    this.#onPosition = onPosition;
    this.#pool = new Pool(url.origin, {
      connections: CONNECTIONS,
      connect: { timeout: Math.min(timeoutMs, CONNECT_MS) },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    this.failedRequests = new FailedRequests(logger, 'requests failed because of a subgraph', { subgraph: name });
    this.#outages = new OutageDetector({
      subgraph: name,
      failures: breakerFailures,
      resetMs: breakerResetMs,
      quietMs,
      probe: () => this.query(PROBE),
      takeFailedRequests: () => this.failedRequests.take(),
      onCircuit: (isOpen) => metrics?.setCircuitOpen(name, isOpen),
      logger,
      time,
    });
    const path = url.pathname + url.search;
    const transport: Dispatch = (request) =>
      post(this.#pool, {
        path,
        headers: request.headers,
        body: request.body,
        timeoutMs,
        maxBytes,
        signal: request.signal,
      }).then(readResult);
    this.#dispatch = intercept(transport, [
      ...(metrics ? [metrics.measure(name)] : []),
      this.#detectOutages,
      requestHeaders(name, url, headers),
      retryBrokenConnections,
    ]);
  }

  /** Why the subgraph does not work; null while it does. */
  get problem(): string | null {
    return this.#outages.problem;
  }

  /** Sends one operation. Never rejects: failures are among the errors of the result. */
  readonly execute: Fetcher = async (request) => {
    try {
      return await this.#dispatch(request, 'client');
    } catch (error) {
      const { message, extensions, isFinal } = error as FetchError;
      return { errors: [{ message, extensions: withCause(extensions, message) }], isFinal };
    }
  };

  /** Sends a query of the gateway's own, such as that for the schema, also while the circuit is open. @throws FetchError */
  query(query: string): Promise<SubgraphResult> {
    const request = { body: JSON.stringify({ query }), headers: {}, repeatable: true, signal: null };
    return this.#dispatch(request, 'gateway');
  }

  /** Ends requests in flight, too: with an error, at once. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#outages.close();
    this.failedRequests.close();
    await this.#pool.destroy();
  }

  /** Suspends requests while the circuit is open, counts outcomes, and turns whatever went wrong into a FetchError. */
  readonly #detectOutages: Interceptor = (next) => (request, origin) => {
    const isProbe = origin === 'gateway';
    const permit = isProbe ? this.#outages.admitProbe() : this.#outages.admit();
    if (!permit) return Promise.reject(this.#circuitOpen());
    return next(request, origin).then(
      (result) => {
        this.#outages.succeeded(permit, isProbe);
        if (result.positions?.has(this.#subgraph.name)) this.#onPosition?.(this.#subgraph.name);
        return result;
      },
      (error: unknown) => {
        if (error instanceof AbandonedError) {
          throw new FetchError('TIMEOUT', 'The client did not wait for the answer.', {}, { outcome: 'abandoned' });
        }
        const failure = this.#failure(error);
        const query = isProbe || !wasReached(error) ? null : queryOf(request);
        if (failure.isOutage) this.#outages.failed(permit, failure.message, query);
        else this.#outages.succeeded(permit, isProbe);
        throw failure;
      },
    );
  };

  #circuitOpen(): FetchError {
    const { name: subgraph } = this.#subgraph;
    const message = `Subgraph "${subgraph}" failed repeatedly, so requests to it are suspended; try again in a moment.`;
    const details = { subgraph, reason: 'CIRCUIT_OPEN' } as const;
    return new FetchError('SUBGRAPH_UNAVAILABLE', message, details, { outcome: 'CIRCUIT_OPEN' });
  }

  #failure(error: unknown): FetchError {
    const { code, message, name } = error as NodeJS.ErrnoException;
    const subgraph = this.#subgraph.name;
    const { timeoutMs, maxBytes } = this.#options;
    // A refusal, or a result that is too large, is a response of a subgraph that works.
    const isOutage = !(error instanceof TooLargeError || (error instanceof NotGraphQLError && error.isRefusal));
    const failure = (errorCode: ErrorCode, why: string, isFinal: boolean) =>
      new FetchError(errorCode, `Subgraph "${subgraph}" ${why}.`, { subgraph }, { isFinal, isOutage });
    const timedOut = error instanceof DeadlineError || /TIMEOUT$/.test(code ?? '');
    if (timedOut && code !== 'UND_ERR_CONNECT_TIMEOUT') {
      return failure('TIMEOUT', `did not answer within ${timeoutMs} ms`, false);
    }
    if (error instanceof TooLargeError) {
      return failure('SUBGRAPH_UNAVAILABLE', `answered with more than ${maxBytes} bytes`, false);
    }
    if (error instanceof NotGraphQLError) {
      return failure(STATUS_CODES[error.status] ?? 'SUBGRAPH_UNAVAILABLE', message, true);
    }
    if (error instanceof UnreadableError) return failure('SUBGRAPH_UNAVAILABLE', message, true);
    if (this.#closed) {
      return failure('SUBGRAPH_UNAVAILABLE', 'had not answered when the gateway shut down; try again', true);
    }
    return failure('SUBGRAPH_UNAVAILABLE', `cannot be reached (${code ?? name})`, true);
  }
}

/** The text of a client's operation, as the body has it. */
function queryOf({ body }: SubgraphRequest): string {
  return body.slice(0, body.indexOf(',"variables":'));
}

/** Whether the subgraph received the request, so that the operation may be the cause of the failure. */
function wasReached(error: unknown): boolean {
  return error instanceof DeadlineError || error instanceof NotGraphQLError || error instanceof UnreadableError;
}

import {
  type GraphQLDataSource,
  type GraphQLDataSourceProcessOptions,
  GraphQLDataSourceRequestKind,
} from '@apollo/gateway/dist/datasources/types.js';
import { ApiError } from '@tributary/shared/errors';
import type { ExecutionResult } from 'graphql';
import type { Histogram } from 'prom-client';
import { Pool } from 'undici';
import type { Subgraph } from '../config.js';

/** Headers of a client's request that subgraphs are sent too. */
export const PROPAGATED_HEADERS = ['authorization', 'x-request-id', 'traceparent', 'tracestate'] as const;

const CONNECTIONS = 64;
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
/** The connection broke before an answer began, so a query may be sent once more. */
const BROKEN_CONNECTION = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** What a request to the gateway carries along to its subgraphs. */
export interface FetchContext {
  readonly headers: Readonly<Record<string, string>>;
}

type ProcessOptions = GraphQLDataSourceProcessOptions<FetchContext & Record<string, unknown>>;

/**
 * Asks one subgraph over kept-alive connections. A subgraph that is down, slow, or answers something else than GraphQL
 * makes an error with a code (SUBGRAPH_UNAVAILABLE, TIMEOUT) in the answer, and the rest of the answer goes on.
 */
export class SubgraphDataSource implements GraphQLDataSource<FetchContext & Record<string, unknown>> {
  readonly #subgraph: Subgraph;
  readonly #path: string;
  readonly #pool: Pool;
  readonly #timeoutMs: number;
  readonly #durations: Histogram<'subgraph' | 'outcome'>;

  constructor(subgraph: Subgraph, timeoutMs: number, durations: Histogram<'subgraph' | 'outcome'>) {
    const url = new URL(subgraph.url);
    this.#subgraph = subgraph;
    this.#path = url.pathname + url.search;
    this.#pool = new Pool(url.origin, {
      connections: CONNECTIONS,
      connect: { timeout: Math.min(timeoutMs, 3000) },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      maxResponseSize: MAX_RESPONSE_BYTES,
    } as Pool.Options);
    this.#timeoutMs = timeoutMs;
    this.#durations = durations;
  }

  async process(options: ProcessOptions): Promise<ExecutionResult> {
    const stopClock = this.#durations.startTimer({ subgraph: this.#subgraph.name });
    try {
      const result = await this.#ask(options);
      stopClock({ outcome: result.errors ? 'errors' : 'ok' });
      return result;
    } catch (error) {
      const shown = this.#explain(error);
      stopClock({ outcome: String(shown.extensions.code) });
      if (options.kind !== GraphQLDataSourceRequestKind.INCOMING_OPERATION) throw shown;
      // As a result, not as an exception: the executor then knows where in the answer the error belongs.
      const path = options.request.variables?.representations ? ['_entities', 0] : undefined;
      return { errors: [Object.assign(shown, { path })] };
    }
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  async #ask({ request, kind, context }: ProcessOptions): Promise<ExecutionResult> {
    const { query, variables, operationName } = request;
    const body = JSON.stringify({ query, variables, operationName });
    const headers = kind === GraphQLDataSourceRequestKind.INCOMING_OPERATION ? context.headers : {};
    try {
      return await this.#post(headers, body);
    } catch (error) {
      const mayRepeat =
        !query?.startsWith('mutation') && BROKEN_CONNECTION.has((error as NodeJS.ErrnoException).code ?? '');
      if (!mayRepeat) throw error;
      return this.#post(headers, body);
    }
  }

  async #post(headers: Readonly<Record<string, string>>, body: string): Promise<ExecutionResult> {
    const response = await this.#pool.request({
      method: 'POST',
      path: this.#path,
      headers: { ...headers, 'content-type': 'application/json', accept: 'application/json' },
      body,
      signal: AbortSignal.timeout(this.#timeoutMs),
    });
    const text = await response.body.text();
    const result = parseResult(text);
    if (!result) throw new NotGraphQLError(`answered with status ${response.statusCode} and no GraphQL result`);
    return result;
  }

  #explain(error: unknown): ApiError {
    const { name, code, message } = error as NodeJS.ErrnoException;
    const subgraph = this.#subgraph.name;
    const timedOut = name === 'TimeoutError' || /TIMEOUT$/.test(code ?? '');
    if (timedOut && code !== 'UND_ERR_CONNECT_TIMEOUT') {
      return new ApiError('TIMEOUT', `Subgraph "${subgraph}" did not answer within ${this.#timeoutMs} ms.`, {
        subgraph,
      });
    }
    const why = error instanceof NotGraphQLError ? message : `cannot be reached (${code ?? name})`;
    return new ApiError('SUBGRAPH_UNAVAILABLE', `Subgraph "${subgraph}" ${why}.`, { subgraph });
  }
}

/** Something answered at the subgraph's address, but not in GraphQL. */
class NotGraphQLError extends Error {}

function parseResult(text: string): ExecutionResult | undefined {
  try {
    const result: unknown = JSON.parse(text);
    const isResult = typeof result === 'object' && result !== null && ('data' in result || 'errors' in result);
    return isResult ? (result as ExecutionResult) : undefined;
  } catch {
    return undefined;
  }
}

import type { GraphQLDataSource, GraphQLDataSourceProcessOptions } from '@apollo/gateway/dist/datasources/types.js';
import { ApiError } from '@tributary/shared/errors';
import type { ExecutionResult } from 'graphql';
import type { Histogram } from 'prom-client';
import { Pool } from 'undici';
import type { Subgraph } from '../config.js';
import { type Fetcher, isObject, type JsonObject, type SubgraphError, type SubgraphResult } from '../engine/types.js';

/** Headers of a client's request that subgraphs are sent too. */
export const PROPAGATED_HEADERS = ['authorization', 'x-request-id', 'traceparent', 'tracestate'] as const;

const CONNECTIONS = 64;
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
/** The connection broke before an answer began, so a query may be sent once more. */
const BROKEN_CONNECTION = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/**
 * Asks one subgraph over kept-alive connections. A subgraph that is down, slow, or answers something else than GraphQL
 * makes an error with a code (SUBGRAPH_UNAVAILABLE, TIMEOUT) in the answer, and the rest of the answer goes on.
 */
export class SubgraphDataSource implements GraphQLDataSource {
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

  /** Sends a request. What goes wrong comes as an error of the answer, never as an exception. */
  readonly send: Fetcher = async (body, headers, repeatable) => {
    try {
      return await this.#timed(() => this.#ask(body, headers, repeatable));
    } catch (error) {
      const { message, extensions } = error as ApiError;
      return { errors: [{ message, extensions }] };
    }
  };

  /** For Apollo's gateway, which asks for a subgraph's schema this way. @throws ApiError when it cannot be asked */
  async process({ request: { query } }: GraphQLDataSourceProcessOptions): Promise<ExecutionResult> {
    return this.#timed(() => this.#ask(JSON.stringify({ query }), {}, true)) as Promise<ExecutionResult>;
  }

  /** @throws ApiError in place of whatever went wrong */
  async #timed(run: () => Promise<SubgraphResult>): Promise<SubgraphResult> {
    const stopClock = this.#durations.startTimer({ subgraph: this.#subgraph.name });
    try {
      const result = await run();
      stopClock({ outcome: result.errors ? 'errors' : 'ok' });
      return result;
    } catch (error) {
      const shown = this.#explain(error);
      stopClock({ outcome: String(shown.extensions.code) });
      throw shown;
    }
  }

  close(): Promise<void> {
    return this.#pool.close();
  }

  async #ask(body: string, headers: Readonly<Record<string, string>>, repeatable: boolean): Promise<SubgraphResult> {
    try {
      return await this.#post(headers, body);
    } catch (error) {
      if (!repeatable || !BROKEN_CONNECTION.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      return this.#post(headers, body);
    }
  }

  async #post(headers: Readonly<Record<string, string>>, body: string): Promise<SubgraphResult> {
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

function parseResult(text: string): SubgraphResult | undefined {
  try {
    const result: unknown = JSON.parse(text);
    if (!isObject(result) || !('data' in result || 'errors' in result)) return undefined;
    const { data, errors } = result;
    if (data !== undefined && data !== null && !isObject(data)) return undefined;
    return { data, ...(Array.isArray(errors) && { errors: errors.filter(isObject).map(readError) }) };
  } catch {
    return undefined;
  }
}

/** An error as a subgraph says it, less what is not as it should be. */
function readError({ message, path, extensions }: JsonObject): SubgraphError {
  const isPath = Array.isArray(path) && path.every((key) => typeof key === 'string' || typeof key === 'number');
  return {
    ...(typeof message === 'string' && { message }),
    ...(isPath && { path: path as (string | number)[] }),
    ...(isObject(extensions) && { extensions }),
  };
}

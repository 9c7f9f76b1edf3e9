import type { GraphQLDataSource, GraphQLDataSourceProcessOptions } from '@apollo/gateway/dist/datasources/types.js';
import {
  FORMER_INVALIDATIONS_HEADER,
  INVALIDATIONS_HEADER,
  POSITIONS_HEADER,
  readInvalidations,
  readPositions,
} from '@tributary/consistency';
import { ApiError, type ErrorCode, type ErrorDetails, Fault } from '@tributary/server';
import type { ExecutionResult } from 'graphql';
import type { Logger } from 'pino';
import type { Gauge, Histogram } from 'prom-client';
import { Pool } from 'undici';
import type { HeaderRule, Subgraph } from '../config.js';
import { withCause } from '../lib/error-cause.js';
import { isObject, type Json, type JsonObject } from '../lib/json.js';
import { isJson } from '../lib/json-text.js';
import { FailedRequests } from '../server/failed-requests.js';
import { CircuitBreaker, type Permit } from './circuit-breaker.js';
import type { Fetcher, SubgraphError, SubgraphRequest, SubgraphResult } from './subgraph-client.js';
import {
  AbandonedError,
  ACCEPT_ENCODING,
  DeadlineError,
  post,
  type SubgraphReply,
  TooLargeError,
  UnreadableError,
} from './subgraph-request.js';

const CONNECTIONS = 64;
/** The connection broke before an answer began, so a query may be sent once more. */
const BROKEN_CONNECTION = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);
/** How long connecting may take. */
const CONNECT_MS = 3000;
/** What a subgraph's HTTP status says to clients, where its errors have no code of their own. */
const CODES: Readonly<Record<number, 'UNAUTHENTICATED' | 'FORBIDDEN'>> = { 401: 'UNAUTHENTICATED', 403: 'FORBIDDEN' };
/** Statuses that hold for whatever is asked: the caller is refused, or the subgraph is overloaded or not there. */
const FINAL_STATUSES = new Set([401, 403, 429, 502, 503, 504]);
/**
 * Statuses of responses that are no GraphQL result and still no failure of the subgraph: the request itself was refused. Not 404 and 405:
 * no client chooses the path or the method, so nothing that speaks GraphQL is at this address.
 */
const isRefusal = (status: number): boolean => status >= 400 && status < 500 && status !== 404 && status !== 405;
/** While a subgraph fails and its circuit is closed, it is probed so often. Twice before a failure is reported. */
const PROBE_MS = 500;
/** What every GraphQL service answers, at little cost. */
const PROBE = '{ __typename }';

/** Which requests failed since the subgraph worked: those of one query, of several, or whatever is asked. */
type FailureScope = 'none' | 'one query' | 'queries' | 'everything';

export interface SubgraphOptions {
  /** For one request, all of it. */
  readonly timeoutMs: number;
  /** The largest answer that is read. */
  readonly maxBytes: number;
  /** How many failures in a row open the circuit; 0: none. */
  readonly breakAfter: number;
  /** How long it is open at first. */
  readonly breakMs: number;
  /** Failures of clients' requests alone are over when there was none for so long. */
  readonly quietMs: number;
  readonly headers: readonly HeaderRule[];
}

export interface SubgraphMetrics {
  readonly durations: Histogram<'subgraph' | 'outcome'>;
  readonly open: Gauge<'subgraph'>;
  /** A subgraph said with an answer from which state it is. */
  readonly onPosition: (subgraph: string) => void;
}

/**
 * Asks one subgraph over kept-alive connections. A subgraph that is down, slow, or answers something else than GraphQL
 * makes an error with a code (SUBGRAPH_UNAVAILABLE, TIMEOUT) in the answer, and the rest of the answer goes on.
 */
export class SubgraphDataSource implements GraphQLDataSource {
  /** Clients' requests whose responses lack data of this subgraph. */
  readonly failedRequests: FailedRequests;
  readonly #subgraph: Subgraph;
  readonly #path: string;
  /** Of every request, whatever the client sends. */
  readonly #ownHeaders: Readonly<Record<string, string>>;
  readonly #pool: Pool;
  readonly #options: SubgraphOptions;
  readonly #metrics: SubgraphMetrics | null;
  readonly #breaker: CircuitBreaker;
  /** By outcome, made once: looking them up costs. */
  readonly #observers = new Map<string, (seconds: number) => void>();
  /** Headers that clients send and only other subgraphs are to see. */
  readonly #withheld: readonly string[];
  readonly #failing: Fault;
  readonly #circuit: Fault;
  #lastFailure = '';
  #toldOpen = false;
  #probe: NodeJS.Timeout | undefined;
  #scope: FailureScope = 'none';
  #failedQuery = '';
  #quiet: NodeJS.Timeout | undefined;
  #closed = false;

  /** @param metrics null: it is not measured */
  constructor(subgraph: Subgraph, options: SubgraphOptions, metrics: SubgraphMetrics | null, logger: Logger) {
    const url = new URL(subgraph.url);
    const { timeoutMs, breakAfter, breakMs, headers } = options;
    this.#withheld = withheldFrom(subgraph.name, headers);
    this.#subgraph = subgraph;
    this.#path = url.pathname + url.search;
    this.#ownHeaders = {
      'content-type': 'application/json',
      accept: 'application/json',
      'accept-encoding': ACCEPT_ENCODING,
      ...basicCredentials(url),
    };
    this.#pool = new Pool(url.origin, {
      connections: CONNECTIONS,
      connect: { timeout: Math.min(timeoutMs, CONNECT_MS) },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    this.#options = options;
    this.#metrics = metrics;
    this.#breaker = new CircuitBreaker(breakAfter, breakMs, () => performance.now());
    metrics?.open.set({ subgraph: subgraph.name }, 0);
    const details = { subgraph: subgraph.name };
    this.failedRequests = new FailedRequests(logger, 'requests failed because of a subgraph', details);
    this.#failing = new Fault({
      logger,
      began: 'a subgraph fails: fields that only it has are null, with an error',
      ended: 'the subgraph answers again',
      details,
      summary: () => ({ failedRequests: this.failedRequests.take() }),
    });
    this.#circuit = new Fault({
      logger,
      began: 'the circuit of a subgraph opened: it is asked again now and then, and requests for it fail at once',
      ended: 'the circuit of the subgraph closed',
      details,
      level: 'info',
    });
  }

  /** Why the subgraph does not answer as it should; null while it does. */
  get problem(): string | null {
    return this.#circuit.cause ?? this.#failing.cause;
  }

  /** Sends a request. What goes wrong comes as an error of the answer, never as an exception. */
  readonly send: Fetcher = async (request) => {
    try {
      return await this.#timed(request, this.#breaker.allows(), queryOf(request));
    } catch (error) {
      const { message, extensions, isFinal } = error as FetchError;
      return { errors: [{ message, extensions: withCause(extensions, message) }], isFinal };
    }
  };

  /** Asks for the subgraph's schema, also while the circuit is open. @throws when it cannot be asked, with the cause */
  async process({ request: { query } }: Pick<GraphQLDataSourceProcessOptions, 'request'>): Promise<ExecutionResult> {
    const body = JSON.stringify({ query });
    const request = { body, headers: {}, repeatable: true, abandonment: null };
    return (await this.#timed(request, this.#breaker.probe(), null)) as ExecutionResult;
  }

  /** @param query what a client asks; null for the gateway's own requests @throws FetchError in place of whatever went wrong */
  async #timed(request: SubgraphRequest, permit: Permit | null, query: string | null): Promise<SubgraphResult> {
    const started = performance.now();
    if (!permit) {
      this.#observe('CIRCUIT_OPEN', started);
      const { name: subgraph } = this.#subgraph;
      throw new FetchError(
        'SUBGRAPH_UNAVAILABLE',
        `Subgraph "${subgraph}" failed repeatedly, so requests to it are suspended; try again in a moment.`,
        { subgraph, reason: 'CIRCUIT_OPEN' },
      );
    }
    try {
      const result = await this.#ask(request);
      this.#succeeded(permit, query === null);
      if (result.positions?.has(this.#subgraph.name)) this.#metrics?.onPosition(this.#subgraph.name);
      this.#observe(result.errors ? 'errors' : 'ok', started);
      return result;
    } catch (error) {
      if (error instanceof AbandonedError) {
        this.#observe('abandoned', started);
        throw new FetchError('TIMEOUT', 'The client did not wait for the answer.');
      }
      const shown = this.#explain(error);
      const code = String(shown.extensions.code);
      // What is too large, or refused, was answered by the subgraph.
      const answered = error instanceof TooLargeError || (error instanceof NotGraphQLError && isRefusal(error.status));
      shown.isOutage = !answered;
      if (answered) this.#succeeded(permit, query === null);
      else this.#failed(permit, shown.message, wasReached(error) ? query : null);
      this.#observe(code, started);
      throw shown;
    }
  }

  #succeeded(permit: Permit, isOwn: boolean): void {
    // The gateway's own requests need no database: they say nothing of clients' requests, if only those failed. They close the circuit.
    const saysLittle = isOwn && (this.#scope === 'one query' || this.#scope === 'queries');
    if ((!saysLittle || this.#breaker.isOpen) && !this.#breaker.succeeded(permit)) return;
    this.#tellCircuit();
    this.#stopProbing();
    if (saysLittle) return;
    clearTimeout(this.#quiet);
    this.#scope = 'none';
    this.#failing.worked();
    this.#circuit.worked();
  }

  /** @param query what was asked, if the subgraph was reached and a client asked it */
  #failed(permit: Permit, cause: string, query: string | null): void {
    if (this.#closed) return;
    const wasOpen = this.#breaker.isOpen;
    if (this.#counts(query)) {
      this.#lastFailure = cause;
      if (this.#breaker.failed(permit)) this.#failing.failed(cause);
      this.#tellCircuit();
    }
    if (!this.#probe || this.#breaker.isOpen !== wasOpen) this.#probeLater();
  }

  /** Whether a failure says something new of the subgraph: one query that fails, however often, may itself be the cause. */
  #counts(query: string | null): boolean {
    clearTimeout(this.#quiet);
    if (query === null || this.#scope === 'everything') {
      this.#scope = 'everything';
      return true;
    }
    this.#quiet = setTimeout(() => this.#succeeded(this.#breaker.probe(), false), this.#options.quietMs).unref();
    if (this.#scope === 'one query' && query === this.#failedQuery) return false;
    this.#scope = this.#scope === 'none' ? 'one query' : 'queries';
    this.#failedQuery = query;
    return true;
  }

  /** No client's request has to try whether a subgraph that failed answers again. */
  #probeLater(): void {
    this.#stopProbing();
    const timer = setTimeout(
      () => {
        this.process({ request: { query: PROBE } }).catch(() => {
          // What went wrong was counted. Where it says that the subgraph works, there are no more probes.
          if (this.#probe === timer) this.#probeLater();
        });
      },
      this.#breaker.isOpen ? this.#breaker.breakMs : PROBE_MS,
    ).unref();
    this.#probe = timer;
  }

  #stopProbing(): void {
    clearTimeout(this.#probe);
    this.#probe = undefined;
  }

  /** Ends requests that are under way, too: with an error, at once. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#stopProbing();
    clearTimeout(this.#quiet);
    this.#failing.stop();
    this.#circuit.stop();
    this.failedRequests.close();
    await this.#pool.destroy();
  }

  #tellCircuit(): void {
    const { isOpen } = this.#breaker;
    if (isOpen === this.#toldOpen) return;
    this.#toldOpen = isOpen;
    this.#metrics?.open.set({ subgraph: this.#subgraph.name }, isOpen ? 1 : 0);
    // It may open and close again and again during one fault; that is logged once.
    if (isOpen && !this.#closed) this.#circuit.failed(this.#lastFailure);
  }

  #observe(outcome: string, started: number): void {
    let observe = this.#observers.get(outcome);
    if (!observe) {
      const labelled = this.#metrics?.durations.labels({ subgraph: this.#subgraph.name, outcome });
      observe = (seconds) => labelled?.observe(seconds);
      this.#observers.set(outcome, observe);
    }
    observe((performance.now() - started) / 1000);
  }

  #ask(request: SubgraphRequest): Promise<SubgraphResult> {
    const asked = this.#post(request);
    if (!request.repeatable) return asked;
    return asked.catch((error) => {
      if (!BROKEN_CONNECTION.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
      return this.#post(request);
    });
  }

  #post({ body, headers, abandonment }: SubgraphRequest): Promise<SubgraphResult> {
    const { timeoutMs, maxBytes } = this.#options;
    const options = {
      path: this.#path,
      headers: { ...this.#allowed(headers), ...this.#ownHeaders },
      body,
      timeoutMs,
      maxBytes,
      abandonment,
    };
    return post(this.#pool, options).then(readReply);
  }

  #allowed(headers: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    if (this.#withheld.length === 0) return headers;
    return Object.fromEntries(Object.entries(headers).filter(([name]) => !this.#withheld.includes(name)));
  }

  #explain(error: unknown): FetchError {
    const { code, message, name } = error as NodeJS.ErrnoException;
    const subgraph = this.#subgraph.name;
    const { timeoutMs, maxBytes } = this.#options;
    const failure = (errorCode: ErrorCode, why: string, isFinal: boolean) =>
      new FetchError(errorCode, `Subgraph "${subgraph}" ${why}.`, { subgraph }, isFinal);
    const timedOut = error instanceof DeadlineError || /TIMEOUT$/.test(code ?? '');
    if (timedOut && code !== 'UND_ERR_CONNECT_TIMEOUT') {
      return failure('TIMEOUT', `did not answer within ${timeoutMs} ms`, false);
    }
    if (error instanceof TooLargeError) {
      return failure('SUBGRAPH_UNAVAILABLE', `answered with more than ${maxBytes} bytes`, false);
    }
    if (error instanceof NotGraphQLError) return failure(CODES[error.status] ?? 'SUBGRAPH_UNAVAILABLE', message, true);
    if (error instanceof UnreadableError) return failure('SUBGRAPH_UNAVAILABLE', message, true);
    if (this.#closed)
      return failure('SUBGRAPH_UNAVAILABLE', 'had not answered when the gateway shut down; try again', true);
    return failure('SUBGRAPH_UNAVAILABLE', `cannot be reached (${code ?? name})`, true);
  }
}

/** Why there is no answer, as clients are told. */
export class FetchError extends ApiError {
  /** The subgraph fails, which its data source reports. */
  isOutage = false;
  /** Asking again at once would not help, not even for less. */
  readonly isFinal: boolean;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}, isFinal = true) {
    super(code, message, details);
    this.isFinal = isFinal;
  }
}

/** The credentials of a URL (`https://user:password@host`), as its header. They take the place of a client's `authorization`. */
function basicCredentials({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const credentials = Buffer.from(`${decoded(username)}:${decoded(password)}`).toString('base64');
  return { authorization: `Basic ${credentials}` };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The text of a client's operation, as the body has it. */
function queryOf({ body }: SubgraphRequest): string {
  return body.slice(0, body.indexOf(',"variables":'));
}

/** Whether the subgraph took the request, so that the failure may be one of what was asked. */
function wasReached(error: unknown): boolean {
  return error instanceof DeadlineError || error instanceof NotGraphQLError || error instanceof UnreadableError;
}

/** What only rules for other subgraphs let through. */
function withheldFrom(subgraph: string, rules: readonly HeaderRule[]): string[] {
  const allowed = new Set(
    rules.filter((rule) => rule.subgraph === null || rule.subgraph === subgraph).map(({ name }) => name),
  );
  return rules.map(({ name }) => name).filter((name) => !allowed.has(name));
}

/** Something answered at the subgraph's address, but not in GraphQL. */
class NotGraphQLError extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`answered with status ${status} and no GraphQL result`);
    this.status = status;
  }
}

/** @throws NotGraphQLError */
function readReply({ status, text, bytes, headers }: SubgraphReply): SubgraphResult {
  const result = parseResult(text);
  if (!result) throw new NotGraphQLError(status);
  const positions = headers[POSITIONS_HEADER];
  const told = headers[INVALIDATIONS_HEADER] ?? headers[FORMER_INVALIDATIONS_HEADER];
  const invalidations = typeof told === 'string' ? readInvalidations(told) : null;
  const code = CODES[status];
  return {
    ...result,
    ...(code && result.errors && { errors: result.errors.map((error) => withCode(error, code)) }),
    isFinal: FINAL_STATUSES.has(status),
    bytes,
    plain: !text.includes('\\'),
    ...(typeof positions === 'string' && { positions: readPositions(positions) }),
    ...(invalidations && { invalidations }),
  };
}

function withCode(error: SubgraphError, code: string): SubgraphError {
  return { ...error, extensions: { code, ...error.extensions } };
}

function parseResult(text: string): SubgraphResult | undefined {
  try {
    const result: unknown = JSON.parse(text);
    if (!isObject(result) || !('data' in result || 'errors' in result)) return undefined;
    const { data, errors } = result;
    if (data !== undefined && data !== null && !isObject(data)) return undefined;
    if (errors === undefined || errors === null) return { data };
    // Whatever stands for an error is one: what it says of is null otherwise without a reason.
    return { data, errors: (Array.isArray(errors) ? errors : [errors]).map(readError) };
  } catch {
    return undefined;
  }
}

/** An error as a subgraph says it, less what is not as it should be. */
function readError(error: Json | undefined): SubgraphError {
  if (typeof error === 'string') return { message: error };
  if (!isObject(error)) return {};
  const { message, path, locations, extensions } = error;
  const isPath = Array.isArray(path) && path.every((key) => typeof key === 'string' || typeof key === 'number');
  return {
    ...(typeof message === 'string' && { message }),
    ...(isPath && { path: path as (string | number)[] }),
    ...(Array.isArray(locations) && locations.every(isLocation) && { locations: locations as Location[] }),
    ...(isObject(extensions) && isJson(extensions) && { extensions }),
  };
}

type Location = JsonObject & { readonly line: number; readonly column: number };

function isLocation(value: Json | undefined): value is Location {
  return isObject(value) && Number.isSafeInteger(value.line) && Number.isSafeInteger(value.column);
}

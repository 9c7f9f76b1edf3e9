import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { ExecutionResult, GraphQLError } from 'graphql';
import Negotiator from 'negotiator';
import { ApiError, type ErrorCode, type ErrorDetails, masked, presentError } from '../errors/errors.js';
import { levelOf } from '../errors/failure.js';
import { findJsonFault } from './json-value.js';
import { MAX_OPERATION_NAME, OPERATION_NAME_HEADER } from './operation-name.js';
import { findNestingFault, type NestingLimits } from './query-nesting.js';
import { isWellFormed } from './unicode.js';

/** How deep the variables of a request may be nested; the JSON values in them less, see MAX_JSON_DEPTH. */
const MAX_VARIABLES_DEPTH = 100;
/** Query planners of Apollo look at every list in a literal twice, so at 2^n lists for n levels (federation-internals 2.x). */
const MAX_QUERY_NESTING: NestingLimits = { brackets: 500, lists: 10 };
/** How much of the path to a fault an error message repeats. */
const SHOWN_PATH_LENGTH = 8;
/** How much of a header an error message repeats. */
const MAX_SHOWN = 100;

/** A GraphQL request as the HTTP layer hands it on: well-formed, nothing checked against a schema yet. */
export interface GraphQLRequest {
  readonly query: string;
  readonly operationName: string | undefined;
  readonly variables: Readonly<Record<string, unknown>>;
  /** Mutations are refused over GET. */
  readonly method: 'GET' | 'POST';
  /** The request as it was sent, to compare two requests. */
  readonly text: string;
  readonly http: FastifyRequest;
  /** Calls back when the client is gone before its answer is. */
  onGone(callback: () => void): void;
}

/** The request is rejected before it is parsed, with an HTTP status of its own. */
export class RequestRefusedError<Code extends ErrorCode = ErrorCode> extends ApiError<Code> {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: Code,
    message: string,
    headers: Readonly<Record<string, string>> = {},
    details: ErrorDetails<Code> = {},
  ) {
    super(code, message, details);
    this.status = status;
    this.headers = headers;
  }
}

/** Headers of a response by name; several values are several headers, such as `set-cookie`. */
export type ResponseHeaders = Readonly<Record<string, string | string[]>>;

/** An answer that is JSON already; `executed` is false when there is no data, because nothing was executed. */
export class WrittenResult {
  readonly body: string | Buffer;
  readonly executed: boolean;
  readonly headers: ResponseHeaders;

  constructor(body: string | Buffer, executed: boolean, headers: ResponseHeaders = {}) {
    this.body = body;
    this.executed = executed;
    this.headers = headers;
  }
}

/** Errors in place of a result mean that the request was not executed at all. */
export type GraphQLResult = ExecutionResult | readonly GraphQLError[] | WrittenResult;

const JSON_TYPE = 'application/json';
const RESPONSE_TYPE = 'application/graphql-response+json';
/** In order of preference where a client has none: older ones understand only JSON. */
const OFFERED_TYPES: ReadonlyMap<string, string> = new Map(
  [JSON_TYPE, RESPONSE_TYPE].map((type) => [`${type}; charset=utf-8`, type]),
);
/** The `accept` headers of usual clients, which need no negotiation. */
const USUAL_ACCEPTS: ReadonlyMap<string | undefined, string> = new Map([
  [undefined, JSON_TYPE],
  ['', JSON_TYPE],
  ['*/*', JSON_TYPE],
  [JSON_TYPE, JSON_TYPE],
  [RESPONSE_TYPE, RESPONSE_TYPE],
  [`${RESPONSE_TYPE},${JSON_TYPE};q=0.9`, RESPONSE_TYPE],
]);

/**
 * Serves GraphQL over HTTP at `/graphql` by that specification: POST with JSON, GET for queries, media types and status
 * codes as it has them. One request at a time: a batch is refused. Every error leaves with a code; what is not meant for
 * clients is masked and logged. No other site can make a browser send a request: a POST must say that it is JSON (for which
 * browsers ask first), and what a page embeds (an image, a script) is refused.
 */
export function serveGraphQL(app: FastifyInstance, run: (request: GraphQLRequest) => Promise<GraphQLResult>): void {
  app.route({
    method: ['GET', 'POST'],
    url: '/graphql',
    handler: async (http, reply) => {
      let accepted = JSON_TYPE;
      try {
        accepted = acceptedType(http.headers.accept);
        return send(reply, accepted, await run(readRequest(http, reply)), http);
      } catch (error) {
        if (error instanceof RequestRefusedError) return refuse(reply, accepted, error.status, error, error.headers);
        http.log[levelOf(error)]({ err: error, ...operationOf(http) }, 'a request could not be executed');
        return refuse(reply, accepted, 500, masked(http.id));
      }
    },
  });
}

function send(reply: FastifyReply, accepted: string, result: GraphQLResult, http: FastifyRequest): FastifyReply {
  const written = result instanceof WrittenResult ? result : write(result, http);
  reply.headers(written.headers);
  describeContent(reply, accepted);
  if (http.method !== 'POST' && written.executed && isUnchanged(reply, written.body, http))
    return reply.status(304).send();
  return reply.status(written.executed || accepted === JSON_TYPE ? 200 : 400).send(written.body);
}

/** Names the type of the response, and that it depends on the `accept` header: caches must not give it to other clients. */
function describeContent(reply: FastifyReply, type: string): void {
  varyWithAccept(reply);
  reply.header('content-type', `${type}; charset=utf-8`);
}

/** Adds `Accept` to the request headers that a response depends on. */
export function varyWithAccept(reply: FastifyReply): void {
  const vary = reply.getHeader('vary');
  reply.header('vary', vary === undefined ? 'Accept' : `${vary}, Accept`);
}

/** A response to GET may be stored, but must be revalidated each time. */
function isUnchanged(reply: FastifyReply, body: string | Buffer, { headers }: FastifyRequest): boolean {
  const etag = `"${createHash('sha256').update(body).digest('base64url')}"`;
  const isOwn = headers.authorization !== undefined || headers.cookie !== undefined;
  reply.header('etag', etag).header('cache-control', `${isOwn ? 'private' : 'public'}, no-cache`);
  const stored = headers['if-none-match']?.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
  return stored?.some((tag) => tag === etag || tag === '*') ?? false;
}

/** Writes a result with its errors as clients may see them. */
export function write(
  result: ExecutionResult | readonly GraphQLError[],
  http: FastifyRequest,
  headers: ResponseHeaders = {},
): WrittenResult {
  const present = (error: GraphQLError) =>
    presentError(error, http.id, (cause, path) =>
      http.log[levelOf(cause)]({ err: cause, path, ...operationOf(http) }, 'a field could not be resolved'),
    );
  if ('length' in result) return new WrittenResult(JSON.stringify({ errors: result.map(present) }), false);
  const { errors, data, extensions } = result;
  const shown = { ...(errors && { errors: errors.map(present) }), data, extensions };
  return new WrittenResult(JSON.stringify(shown), data !== undefined, headers);
}

/** The client's operation name, where the gateway sends it. */
function operationOf({ headers }: FastifyRequest): { readonly operation?: string } {
  const name = headers[OPERATION_NAME_HEADER];
  return typeof name === 'string' ? { operation: name.slice(0, MAX_OPERATION_NAME) } : {};
}

function refuse(
  reply: FastifyReply,
  accepted: string,
  status: number,
  error: ApiError,
  headers: Readonly<Record<string, string>> = {},
): FastifyReply {
  describeContent(reply, accepted);
  return reply
    .status(status)
    .headers(headers)
    .send(JSON.stringify({ errors: [error] }));
}

/** @throws RequestRefusedError when the client accepts none of what is offered */
function acceptedType(accept: string | undefined): string {
  const usual = USUAL_ACCEPTS.get(accept);
  if (usual !== undefined) return usual;
  const offered = [...OFFERED_TYPES.keys()];
  const best = new Negotiator({ headers: { accept } }).mediaType(offered);
  const type = best === undefined ? undefined : OFFERED_TYPES.get(best);
  if (type !== undefined) return type;
  const message = `Not acceptable: responses are ${RESPONSE_TYPE} or ${JSON_TYPE}, in UTF-8.`;
  throw new RequestRefusedError(406, 'BAD_REQUEST', message, { accept: offered.join(', ') });
}

/** @throws RequestRefusedError when the request is not as the specification has it */
function readRequest(http: FastifyRequest, reply: FastifyReply): GraphQLRequest {
  // HEAD is GET without the body, which the server leaves out.
  const method = http.method === 'POST' ? 'POST' : 'GET';
  const text = method === 'GET' ? http.url : String(http.body ?? '');
  const { query, operationName, variables, extensions } = method === 'GET' ? readUrl(http) : readBody(http, text);
  if (!isNothing(extensions) && !isMap(extensions)) throw malformed('"extensions" must be an object');
  if ((isNothing(query) || query === '') && extensions?.persistedQuery) throw persistedQueryNotSupported();
  if (typeof query !== 'string') throw malformed('"query" is required and must be a string');
  if (!isNothing(operationName) && typeof operationName !== 'string')
    throw malformed('"operationName" must be a string');
  if (!isNothing(variables) && !isMap(variables)) throw malformed('"variables" must be an object');
  refuseUnreadable(query, operationName, variables ?? {});
  return {
    query,
    operationName: operationName || undefined,
    variables: variables ?? {},
    method,
    text,
    http,
    onGone: (callback) =>
      void reply.raw.once('close', () => {
        if (!reply.raw.writableFinished) callback();
      }),
  };
}

/** Refuses what no parser may recurse into, and what cannot be stored, before anything looks into the request. */
function refuseUnreadable(query: string, operationName: string | null | undefined, variables: object): void {
  if (!isWellFormed(query)) throw malformed('"query" contains an unpaired surrogate');
  if (operationName && !isWellFormed(operationName)) throw malformed('"operationName" contains an unpaired surrogate');
  const nested = findNestingFault(query, MAX_QUERY_NESTING);
  if (nested) {
    const message = `"query" has ${nested} nested more than ${MAX_QUERY_NESTING[nested]} deep; send such values as variables.`;
    throw new RequestRefusedError(400, 'COST_LIMIT', message, {}, { reason: 'NESTING' });
  }
  const fault = findJsonFault(variables, MAX_VARIABLES_DEPTH, { allowNul: true });
  if (!fault) return;
  // An unpaired surrogate in a name is shown as an escape: no client could decode it.
  const path = fault.path.map((part) => JSON.stringify(String(part)).slice(1, -1));
  const [variable = 'variables', ...rest] = path.slice(0, SHOWN_PATH_LENGTH);
  const field = rest.join('.');
  const where = field === '' ? `variable "$${variable}"` : `variable "$${variable}" at "${field}"`;
  throw new RequestRefusedError(
    400,
    'BAD_USER_INPUT',
    `Invalid value: ${where} ${fault.problem}.`,
    {},
    {
      field: rest.length === 0 ? String(variable) : `${variable}.${field}`,
      reason: fault.reason,
    },
  );
}

interface RawParameters {
  readonly query?: unknown;
  readonly operationName?: unknown;
  readonly variables?: unknown;
  readonly extensions?: unknown;
}

function readBody({ headers }: FastifyRequest, text: string): RawParameters {
  const contentType = headers['content-type'] ?? '';
  if (contentType !== JSON_TYPE && !/^application\/json\s*(;\s*charset="?utf-?8"?\s*)?$/i.test(contentType)) {
    const given = contentType === '' ? 'nothing' : JSON.stringify(contentType.slice(0, MAX_SHOWN));
    const message = `Unsupported media type: "content-type" must be ${JSON_TYPE}, in UTF-8; got ${given}.`;
    throw new RequestRefusedError(415, 'BAD_REQUEST', message, { accept: `${JSON_TYPE}; charset=utf-8` });
  }
  const body = readJson(text, 'the body');
  if (Array.isArray(body)) {
    const message = 'Batching is not supported: send each operation in a request of its own.';
    throw new RequestRefusedError(400, 'BAD_REQUEST', message, {}, { reason: 'BATCH' });
  }
  if (!isMap(body)) throw malformed('the body must be an object');
  return body;
}

function readUrl({ url, headers }: FastifyRequest): RawParameters {
  if (headers.upgrade?.toLowerCase() === 'websocket') {
    throw new RequestRefusedError(400, 'BAD_REQUEST', 'Subscriptions over WebSocket are not supported.');
  }
  const from = headers['sec-fetch-site'];
  if (headers['sec-fetch-mode'] === 'no-cors' && (from === 'cross-site' || from === 'same-site')) {
    const message = 'A page of another site cannot embed a response.';
    throw new RequestRefusedError(403, 'FORBIDDEN', message, {}, { reason: 'CROSS_SITE' });
  }
  const parameters = new URLSearchParams(url.slice(url.indexOf('?') + 1 || url.length));
  const json = (name: string) => {
    const text = parameters.get(name);
    return text === null || text === '' ? undefined : readJson(text, `"${name}"`);
  };
  return {
    query: parameters.get('query') ?? undefined,
    operationName: parameters.get('operationName') ?? undefined,
    variables: json('variables'),
    extensions: json('extensions'),
  };
}

function readJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw malformed(`${what} must be JSON`);
  }
}

function malformed(why: string): RequestRefusedError {
  return new RequestRefusedError(400, 'BAD_REQUEST', `Malformed request: ${why}.`);
}

/**
 * Clients with automatic persisted queries send a hash first. This message and this code make them send the query instead, and no more
 * hashes. A request that has both is executed: some clients know no other way back.
 */
function persistedQueryNotSupported(): RequestRefusedError {
  const headers = { 'cache-control': 'no-store' };
  return new RequestRefusedError(200, 'PERSISTED_QUERY_NOT_SUPPORTED', 'PersistedQueryNotSupported', headers);
}

function isNothing(value: unknown): value is null | undefined {
  return value === null || value === undefined;
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

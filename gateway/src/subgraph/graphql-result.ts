import {
  FORMER_INVALIDATIONS_HEADER,
  INVALIDATIONS_HEADER,
  POSITIONS_HEADER,
  readInvalidations,
  readPositions,
} from '@tributary/consistency';
import { isObject, type Json, type JsonObject } from '../lib/json.js';
import { isJson } from '../lib/json-text.js';
import type { HttpReply } from './http-post.js';
import type { SubgraphError, SubgraphResult } from './subgraph-client.js';

/** The codes that an HTTP status gives to errors without a code of their own. */
export const STATUS_CODES: Readonly<Record<number, 'UNAUTHENTICATED' | 'FORBIDDEN'>> = {
  401: 'UNAUTHENTICATED',
  403: 'FORBIDDEN',
};
/** Statuses that do not depend on the operation: the caller is refused, or the subgraph is overloaded or absent. */
const FINAL_STATUSES = new Set([401, 403, 429, 502, 503, 504]);

/** A response from the subgraph's address is not a GraphQL result. */
export class NotGraphQLError extends Error {
  readonly status: number;

  constructor(status: number) {
    super(`answered with status ${status} and no GraphQL result`);
    this.status = status;
  }

  /**
   * Whether the subgraph refused the request itself, which is no failure of the subgraph. 404 and 405 are failures: clients choose neither
   * path nor method, so nothing at this address speaks GraphQL.
   */
  get isRefusal(): boolean {
    return this.status >= 400 && this.status < 500 && this.status !== 404 && this.status !== 405;
  }
}

/** Reads a GraphQL result and the headers that go with it. @throws NotGraphQLError */
export function readResult({ status, text, bytes, headers }: HttpReply): SubgraphResult {
  const result = parseResult(text);
  if (!result) throw new NotGraphQLError(status);
  const positions = headers[POSITIONS_HEADER];
  const sent = headers[INVALIDATIONS_HEADER] ?? headers[FORMER_INVALIDATIONS_HEADER];
  const invalidations = typeof sent === 'string' ? readInvalidations(sent) : null;
  const code = STATUS_CODES[status];
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
    // Any value counts as an error: without it, the nulls in the data would have no explanation.
    return { data, errors: (Array.isArray(errors) ? errors : [errors]).map(readError) };
  } catch {
    return undefined;
  }
}

/** Reads an error of a result, and drops its malformed parts. */
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

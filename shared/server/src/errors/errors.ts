import { GraphQLError, type GraphQLErrorExtensions, type GraphQLErrorOptions } from 'graphql';
import type { ErrorCode, ErrorReason } from './error-catalogue.js';
import { isTransient, tookTooLong } from './failure.js';

export type { ErrorCode, ErrorReason } from './error-catalogue.js';

declare module 'graphql/error/GraphQLError.js' {
  /** Only codes and reasons of the catalogue can be thrown: others do not compile. */
  interface GraphQLErrorExtensions {
    code?: ErrorCode;
    reason?: ErrorReason;
  }
}

/** What a client can act on besides the code: the input field at fault, and the rule that was broken. */
export interface ErrorDetails<Code extends ErrorCode = ErrorCode> {
  readonly field?: string;
  readonly reason?: ErrorReason<Code>;
  /** The subgraph that did not respond. */
  readonly subgraph?: string;
  /** The request that the log shows the cause with. */
  readonly requestId?: string;
}

/** An error that is meant for the client: its message is shown as it stands. Anything else is masked. */
export class ApiError<Code extends ErrorCode = ErrorCode> extends GraphQLError {
  constructor(code: Code, message: string, details: ErrorDetails<Code> = {}) {
    super(message, { extensions: { code, ...details } });
    this.name = 'ApiError';
  }
}

/** A value of the request is not accepted. `field` names the argument or input field. */
export const badUserInput = (field: string, message: string, reason?: ErrorReason<'BAD_USER_INPUT'>): ApiError =>
  new ApiError('BAD_USER_INPUT', message, reason === undefined ? { field } : { field, reason });

/** The object that a command should change does not exist. (A query returns null instead.) */
export const notFound = (what: string, id: string): ApiError =>
  new ApiError('NOT_FOUND', `There is no ${what} with id "${id}".`, { field: 'id' });

/** The command was understood, but the present state does not allow it; `reason` is stable, for programs. */
export const conflict = (reason: ErrorReason<'CONFLICT'>, message: string, field?: string): ApiError =>
  new ApiError('CONFLICT', message, field === undefined ? { reason } : { reason, field });

/** An unexpected error, without its details: the log has them, with the id of the request. */
export const masked = (requestId: string | undefined): ApiError =>
  new ApiError('INTERNAL_SERVER_ERROR', maskedMessage(requestId), requestId === undefined ? {} : { requestId });

const maskedMessage = (requestId: string | undefined) =>
  `Something went wrong on our side; it has been logged${requestId === undefined ? '' : ` as request ${requestId}`}.`;

/** Values that only the database finds impossible, by its error code. */
const REFUSED_VALUES: Readonly<Record<string, readonly [reason: ErrorReason<'BAD_USER_INPUT'>, message: string]>> = {
  '22003': ['OUT_OF_RANGE', 'A number is out of range.'],
  '22007': ['DATE', 'A date or time is malformed.'],
  '22008': ['DATE', 'A date or time is out of range.'],
  '22P02': ['FORM', 'A value does not have the form of its type.'],
  '22021': ['CHARACTER', 'A text contains a character that cannot be stored.'],
  '22P05': ['CHARACTER', 'A text contains a character that cannot be stored.'],
};

/**
 * Converts an error to what a client may see. Errors with a code stay as they are; values that GraphQL refuses get
 * BAD_USER_INPUT; a database that does not respond SUBGRAPH_UNAVAILABLE, one that takes too long TIMEOUT. Everything else is masked.
 * The last three are reported, and carry the id of the request with which `report` logs them.
 */
export function presentError(
  error: GraphQLError,
  requestId: string,
  report: (cause: unknown, path: GraphQLError['path']) => void,
): GraphQLError {
  if (typeof error.extensions.code === 'string') return error;

  let cause: unknown = error;
  while (cause instanceof GraphQLError && cause.originalError) cause = cause.originalError;
  if (isOfRequest(error, cause)) return withCode(error, 'BAD_USER_INPUT');
  // Passed on from a subgraph, whose message it is.
  if (cause === error) return withCode(error, 'DOWNSTREAM_SERVICE_ERROR');

  const refused = REFUSED_VALUES[(cause as { code?: string } | null)?.code ?? ''];
  if (refused) return withCode(error, 'BAD_USER_INPUT', refused[1], refused[0]);

  report(cause, error.path);
  const withRequest = (code: ErrorCode, message: string) => withDetails(error, { code, requestId }, message);
  if (isTransient(cause)) {
    return withRequest('SUBGRAPH_UNAVAILABLE', 'The service cannot reach its data at the moment; try again.');
  }
  if (tookTooLong(cause)) return withRequest('TIMEOUT', 'The database took too long; request less, or try again.');
  return withRequest('INTERNAL_SERVER_ERROR', maskedMessage(requestId));
}

/**
 * Whether GraphQL itself refused a value of the request: a variable, before anything ran, or an argument, whose place in the document
 * it gives. What a resolver returned and a type cannot serialize has no such place, and is no fault of the client.
 */
function isOfRequest(error: GraphQLError, cause: unknown): boolean {
  return error.path === undefined || (cause instanceof GraphQLError && cause.nodes !== undefined);
}

/** The same error with a code (and another message or reason). */
export function withCode<Code extends ErrorCode>(
  error: GraphQLError,
  code: Code,
  message = error.message,
  reason?: ErrorReason<Code>,
): GraphQLError {
  return withDetails(error, { code, ...(reason !== undefined && { reason }) }, message);
}

function withDetails(error: GraphQLError, details: GraphQLErrorExtensions, message: string): GraphQLError {
  const { locations, path, extensions } = error;
  return errorAt(message, locations, { path, extensions: { ...extensions, ...details } });
}

/** An error at given locations. (From nodes, graphql-js finds them by reading the document from its start, for each error.) */
export function errorAt(
  message: string,
  locations: GraphQLError['locations'],
  { path, extensions }: Pick<GraphQLErrorOptions, 'path' | 'extensions'>,
): GraphQLError {
  return Object.assign(new GraphQLError(message, { path, extensions }), { locations });
}

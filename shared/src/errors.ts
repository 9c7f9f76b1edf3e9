import { GraphQLError } from 'graphql';
import { isPassing, tookTooLong } from './postgres/failure.js';

/** The codes that a client may find in `errors[].extensions.code`. */
export type ErrorCode =
  | 'GRAPHQL_PARSE_FAILED'
  | 'GRAPHQL_VALIDATION_FAILED'
  | 'OPERATION_RESOLUTION_FAILURE'
  | 'BAD_USER_INPUT'
  | 'BAD_REQUEST'
  | 'PERSISTED_QUERY_NOT_SUPPORTED'
  | 'NOT_FOUND'
  | 'CONFLICT'
  | 'UNAUTHENTICATED'
  | 'FORBIDDEN'
  | 'SUBGRAPH_UNAVAILABLE'
  | 'TIMEOUT'
  | 'RATE_LIMITED'
  | 'COST_LIMIT'
  | 'INTERNAL_SERVER_ERROR';

/** What a client can act on besides the code: the input field at fault, and the rule that was broken. */
export interface ErrorDetails {
  readonly field?: string;
  readonly reason?: string;
  /** The subgraph that could not be asked. */
  readonly subgraph?: string;
}

/** An error that is meant for the client: its message is shown as it stands. Anything else is masked. */
export class ApiError extends GraphQLError {
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, { extensions: { code, ...details } });
    this.name = 'ApiError';
  }
}

/** The request cannot be served as it was asked. `field` names the argument or input field. */
export const badUserInput = (field: string, message: string, reason?: string): ApiError =>
  new ApiError('BAD_USER_INPUT', message, reason === undefined ? { field } : { field, reason });

/** The thing that a command should change does not exist. (A query answers null instead.) */
export const notFound = (what: string, id: string): ApiError =>
  new ApiError('NOT_FOUND', `There is no ${what} with id "${id}".`, { field: 'id' });

/** The command was understood, but the present state does not allow it; `reason` is stable, for programs. */
export const conflict = (reason: string, message: string, field?: string): ApiError =>
  new ApiError('CONFLICT', message, field === undefined ? { reason } : { reason, field });

/** Values that only the database can tell are impossible, by its error code. */
const REFUSED_VALUES: Readonly<Record<string, readonly [reason: string, message: string]>> = {
  '22003': ['OUT_OF_RANGE', 'A number is out of range.'],
  '22007': ['DATE', 'A date or time is malformed.'],
  '22008': ['DATE', 'A date or time is out of range.'],
  '22P02': ['FORM', 'A value does not have the form of its type.'],
  '22021': ['CHARACTER', 'A text contains a character that cannot be stored.'],
  '22P05': ['CHARACTER', 'A text contains a character that cannot be stored.'],
};

/**
 * What a client is shown of any error: errors with a code as they are; errors of the request itself (syntax,
 * validation, variables) as BAD_USER_INPUT; a database that cannot be asked as SUBGRAPH_UNAVAILABLE, one that takes too long as TIMEOUT; everything else masked, after `report` has been told the cause.
 */
export function presentError(
  error: Readonly<GraphQLError | Error>,
  report: (cause: unknown, path: GraphQLError['path']) => void,
): GraphQLError {
  if (!(error instanceof GraphQLError)) return new ApiError('BAD_USER_INPUT', error.message);
  if (typeof error.extensions.code === 'string') return error;

  let cause: unknown = error;
  while (cause instanceof GraphQLError && cause.originalError) cause = cause.originalError;
  const ofTheRequest = error.path === undefined || cause instanceof GraphQLError;
  if (ofTheRequest) return withCode(error, 'BAD_USER_INPUT', error.message);

  const refused = REFUSED_VALUES[(cause as { code?: string } | null)?.code ?? ''];
  if (refused) return withCode(error, 'BAD_USER_INPUT', refused[1], refused[0]);

  report(cause, error.path);
  if (isPassing(cause)) {
    return withCode(error, 'SUBGRAPH_UNAVAILABLE', 'The service cannot reach its data at the moment; try again.');
  }
  if (tookTooLong(cause)) return withCode(error, 'TIMEOUT', 'The database took too long; ask for less, or try again.');
  return withCode(error, 'INTERNAL_SERVER_ERROR', 'Something went wrong on our side; it has been logged.');
}

/** The same error with a code (and another message or reason), where it is known what kind of fault it is. */
export function withCode(error: GraphQLError, code: ErrorCode, message = error.message, reason?: string): GraphQLError {
  return new GraphQLError(message, {
    nodes: error.nodes,
    source: error.source,
    positions: error.positions,
    path: error.path,
    extensions: { ...error.extensions, code, ...(reason !== undefined && { reason }) },
  });
}

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError, masked } from '../errors/errors.js';
import { DatabaseAwayError, levelOf } from '../errors/failure.js';
import type { AllowedMethods } from './allowed-methods.js';

const JSON_TYPE = 'application/json; charset=utf-8';
/** How much of a path an error message repeats. */
const MAX_SHOWN_PATH = 200;

const errorBody = (error: ApiError) => JSON.stringify({ errors: [error] });

/** Responds to errors that no handler caught, and to unknown paths and methods, in the form of GraphQL errors. */
export function respondWithErrors(app: FastifyInstance, name: string, allowedMethods: AllowedMethods): void {
  app.setErrorHandler((error: Error & { statusCode?: number }, request, reply) => {
    const status = error.statusCode ?? (error instanceof DatabaseAwayError ? 503 : 500);
    if (status >= 500) request.log[levelOf(error)]({ err: error }, 'request failed');
    return reply
      .status(status)
      .type(JSON_TYPE)
      .send(errorBody(shownError(error, status, name, request.id)));
  });
  app.setNotFoundHandler((request, reply) => {
    if (allowedMethods.of(request) !== undefined) return allowedMethods.refuse(request, reply);
    const path = request.url.split('?')[0]?.slice(0, MAX_SHOWN_PATH);
    return reply
      .status(404)
      .type(JSON_TYPE)
      .send(errorBody(new ApiError('NOT_FOUND', `Nothing is at ${path}.`)));
  });
}

/** What the client sees of an error: its message when it is meant for the client, else no details. */
function shownError(error: Error, status: number, name: string, requestId: string): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof DatabaseAwayError)
    return new ApiError('SUBGRAPH_UNAVAILABLE', `The database of ${name} does not respond; try again.`, { requestId });
  return status >= 500 ? masked(requestId) : new ApiError('BAD_REQUEST', error.message);
}

/** Responds to a request whose path cannot be decoded: no hook and no other handler runs for it. */
export function refusePath({ id }: FastifyRequest, reply: FastifyReply): void {
  reply
    .status(400)
    .headers({ 'content-type': JSON_TYPE, 'x-request-id': id })
    .send(errorBody(new ApiError('BAD_REQUEST', 'Malformed request: the path cannot be decoded.')));
}

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ExecutionResult, GraphQLError } from 'graphql';
import { createHandler } from 'graphql-http/lib/use/fastify';
import { ApiError, presentError } from '../errors.js';

/** A GraphQL request as the HTTP layer hands it on: well-formed, nothing checked against a schema yet. */
export interface GraphQLRequest {
  readonly query: string;
  readonly operationName: string | undefined;
  readonly variables: Readonly<Record<string, unknown>>;
  /** Mutations are refused over GET. */
  readonly method: 'GET' | 'POST';
  readonly http: FastifyRequest;
}

const METHOD_NOT_ALLOWED = {
  status: 405,
  statusText: 'Method Not Allowed',
  headers: { allow: 'POST', 'content-type': 'application/json; charset=utf-8' },
};

/** The operation may not be sent with this HTTP method; answered with status 405. */
export class MethodNotAllowedError extends ApiError {
  constructor(message: string) {
    super('BAD_USER_INPUT', message, { reason: 'METHOD' });
  }
}

/** Errors in place of a result mean that the request was not executed at all. */
export type GraphQLResult = ExecutionResult | readonly GraphQLError[];

/**
 * Serves GraphQL over HTTP at `/graphql` by that specification: POST with JSON, GET for queries, media types and status
 * codes as it has them. Every error leaves with a code; what is not meant for clients is masked and logged.
 */
export function serveGraphQL(app: FastifyInstance, run: (request: GraphQLRequest) => Promise<GraphQLResult>): void {
  app.route({
    method: ['GET', 'POST'],
    url: '/graphql',
    handler: (http, reply) =>
      createHandler<undefined>({
        onSubscribe: async (_raw, params) => {
          const result = await run({
            query: params.query,
            operationName: params.operationName ?? undefined,
            variables: params.variables ?? {},
            method: http.method === 'GET' ? 'GET' : 'POST',
            http,
          });
          if (Array.isArray(result) && result[0] instanceof MethodNotAllowedError) {
            return [JSON.stringify({ errors: result }), METHOD_NOT_ALLOWED];
          }
          return result as ExecutionResult & undefined;
        },
        formatError: (error) =>
          presentError(error, (cause, path) => http.log.error({ err: cause, path }, 'a field could not be resolved')),
      }).call(app, http, reply) as Promise<void>,
  });
}

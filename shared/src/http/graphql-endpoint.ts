import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { ExecutionResult, GraphQLError } from 'graphql';
import { createHandler } from 'graphql-http/lib/use/fastify';
import { ApiError, type ErrorCode, presentError } from '../errors.js';

/** A GraphQL request as the HTTP layer hands it on: well-formed, nothing checked against a schema yet. */
export interface GraphQLRequest {
  readonly query: string;
  readonly operationName: string | undefined;
  readonly variables: Readonly<Record<string, unknown>>;
  /** Mutations are refused over GET. */
  readonly method: 'GET' | 'POST';
  readonly http: FastifyRequest;
}

/** The request is turned away before it is looked into, with an HTTP status that says so. */
export class RequestRefusedError extends ApiError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, code: ErrorCode, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(code, message);
    this.status = status;
    this.headers = headers;
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
          try {
            const result = await run({
              query: params.query,
              operationName: params.operationName ?? undefined,
              variables: params.variables ?? {},
              method: http.method === 'GET' ? 'GET' : 'POST',
              http,
            });
            return result as ExecutionResult & undefined;
          } catch (error) {
            if (error instanceof RequestRefusedError) return refusal(error);
            http.log.error({ err: error }, 'a request could not be executed');
            return refusal(
              new RequestRefusedError(
                500,
                'INTERNAL_SERVER_ERROR',
                'Something went wrong on our side; it has been logged.',
              ),
            );
          }
        },
        formatError: (error) =>
          presentError(error, (cause, path) => http.log.error({ err: cause, path }, 'a field could not be resolved')),
      }).call(app, http, reply) as Promise<void>,
  });
}

function refusal(
  error: RequestRefusedError,
): [string, { status: number; statusText: string; headers: Record<string, string> }] {
  const headers = { ...error.headers, 'content-type': 'application/json; charset=utf-8' };
  return [JSON.stringify({ errors: [error] }), { status: error.status, statusText: '', headers }];
}

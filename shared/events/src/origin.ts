import type { Origin } from '@tributary/bus';
import type { GraphQLRequest } from '@tributary/server';

/** The client request and the trace that a command belongs to. The HTTP server has dropped a malformed `traceparent`. */
export function originOf({ http }: GraphQLRequest): Origin {
  const { traceparent } = http.headers;
  return { correlationId: http.id, traceparent: typeof traceparent === 'string' ? traceparent : null };
}

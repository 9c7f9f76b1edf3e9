import type { SubgraphRequest, SubgraphResult } from './subgraph-client.js';

/** Who sends a request: a client's operation needs it, or the gateway itself (schema, probe). */
export type Origin = 'client' | 'gateway';

/** Sends a request to a subgraph. Rejects when there is no result. */
export type Dispatch = (request: SubgraphRequest, origin: Origin) => Promise<SubgraphResult>;

/** Wraps a dispatch in another one that adds one concern: retries, metrics, a circuit breaker. */
export type Interceptor = (next: Dispatch) => Dispatch;

/**
 * Composes interceptors around a dispatch, once for each subgraph. The first one is the outermost: it sees a request first and the result last.
 *
 * @example
 * const dispatch = intercept(post, [measure, retry]); // measures all attempts together
 */
export function intercept(dispatch: Dispatch, interceptors: readonly Interceptor[]): Dispatch {
  return interceptors.reduceRight((next, interceptor) => interceptor(next), dispatch);
}

import { WrittenResult } from '@tributary/server';
import { OperationTypeNode } from 'graphql';
import { type Flight, SingleFlight } from '../lib/single-flight.js';
import type { GatewayPlugin } from '../runtime/index.js';

/**
 * Deduplicates clients' queries in flight: equal queries that may get the same data are executed once. A request with a staleness bound takes
 * no part (its fetches may still be deduplicated): a response that began earlier may be as old as the bound when it began, and so older than
 * the bound when the request came.
 *
 * @param requestHeaders the headers that other plug-ins read
 */
export function clientQueryDeduplication(requestHeaders: readonly string[]): GatewayPlugin {
  const flights = new SingleFlight<WrittenResult>();
  return {
    name: 'client-query-deduplication',
    async onRequest(request, next) {
      if (request.operationType() === OperationTypeNode.QUERY && !request.isStalenessBounded()) {
        const { supergraphId, cacheEpoch, text, http } = request;
        const read = requestHeaders.map((name) => http.headers[name] ?? null);
        const key = JSON.stringify([supergraphId, cacheEpoch, read, request.partitionKey(), text]);
        const { result, leave } = flights.join(key, async (flight) => forAll(await next(request, flight), flight));
        request.onGone(leave);
        return result;
      }
      const result = await next(request);
      // Queries in flight may not have what a mutation has changed.
      if (result.executed && request.operationType() !== OperationTypeNode.QUERY) flights.forget();
      return result;
    },
  };
}

/** For several waiters, the bytes are encoded once. */
function forAll(written: WrittenResult, { waiters }: Flight): WrittenResult {
  return waiters > 1 ? new WrittenResult(Buffer.from(written.body as string), written.executed) : written;
}

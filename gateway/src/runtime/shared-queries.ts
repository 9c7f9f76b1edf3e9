import { type GraphQLRequest, WrittenResult } from '@tributary/server';
import type { Cancellation } from '../lib/lazy-abort-controller.js';
import { type Flight, SingleFlight } from '../lib/single-flight.js';

/**
 * In-flight deduplication of clients' queries: the same query with the same partition key is executed once. A request with a staleness bound
 * takes no part (its fetches may still be deduplicated): what a response that began earlier is made from may be as old as the bound when that
 * response began, and so older than the bound when the request came.
 */
export class SharedQueries {
  readonly #flights = new SingleFlight<WrittenResult>();

  /** Stops joining the queries in flight, because a mutation has changed what they read. */
  forget(): void {
    this.#flights.forget();
  }

  /** Runs a query, or waits for the same query in flight, which is aborted when all its clients have disconnected. */
  run(
    key: string,
    request: Pick<GraphQLRequest, 'onGone'>,
    execute: (cancellation: Cancellation & { readonly aborted: boolean }) => Promise<WrittenResult>,
  ): Promise<WrittenResult> {
    const { result, leave } = this.#flights.join(key, async (flight) => forAll(await execute(flight), flight));
    request.onGone(leave);
    return result;
  }
}

/** For several waiters, the bytes are made once. */
function forAll(written: WrittenResult, { waiters }: Flight): WrittenResult {
  return waiters > 1 ? new WrittenResult(Buffer.from(written.body as string), written.executed) : written;
}

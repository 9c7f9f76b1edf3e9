import { Client, cacheExchange, type Exchange, fetchExchange, makeOperation } from '@urql/core';
import { map, pipe } from 'wonka';
import { ConsistencyToken } from './consistency-token.ts';

/** Sends the newest consistency token with each operation. Place it before `fetchExchange`. */
export function consistencyTokenExchange(token = new ConsistencyToken()): Exchange {
  return ({ forward }) =>
    (operations) =>
      forward(
        pipe(
          operations,
          map((operation) =>
            makeOperation(operation.kind, operation, {
              ...operation.context,
              fetch: token.wrap(operation.context.fetch ?? fetch),
            }),
          ),
        ),
      );
}

/** An urql client for the graph that sees its own writes in every later query. */
export function createClient(url: string, send: typeof fetch = fetch): Client {
  return new Client({
    url,
    fetch: send,
    preferGetMethod: false,
    exchanges: [cacheExchange, consistencyTokenExchange(), fetchExchange],
  });
}

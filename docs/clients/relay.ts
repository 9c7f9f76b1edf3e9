import { Environment, type GraphQLResponse, Network, RecordSource, Store } from 'relay-runtime';
import { ConsistencyToken } from './consistency-token.ts';

/** A Relay environment for the graph that sees its own writes in every later query. */
export function createEnvironment(url: string, send: typeof fetch = fetch): Environment {
  const sendWithToken = new ConsistencyToken().wrap(send);
  return new Environment({
    network: Network.create(async ({ text: query, name: operationName }, variables) => {
      const response = await sendWithToken(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/graphql-response+json' },
        body: JSON.stringify({ query, operationName, variables }),
      });
      return (await response.json()) as GraphQLResponse;
    }),
    store: new Store(new RecordSource()),
  });
}

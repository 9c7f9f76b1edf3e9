import { ApolloClient, ApolloLink, HttpLink, InMemoryCache } from '@apollo/client';
import { relayStylePagination } from '@apollo/client/utilities';
import { tap } from 'rxjs';
import { ConsistencyToken } from './consistency-token.ts';

/** Sends the newest consistency token with each operation. Place it before the HTTP link. */
export function consistencyTokenLink(token = new ConsistencyToken()): ApolloLink {
  return new ApolloLink((operation, forward) => {
    operation.setContext(({ headers }) => ({ headers: { ...headers, ...token.headers } }));
    return forward(operation).pipe(
      tap(() => {
        const { response } = operation.getContext() as { response?: Response };
        if (response) token.readFrom(response);
      }),
    );
  });
}

/** An Apollo Client for the graph: entities by id, lists as pages, the client's own writes in every later query. */
export function createClient(uri: string, send: typeof fetch = fetch): ApolloClient {
  return new ApolloClient({
    link: ApolloLink.from([consistencyTokenLink(), new HttpLink({ uri, fetch: send })]),
    cache: new InMemoryCache({
      typePolicies: {
        Query: {
          fields: {
            orders: relayStylePagination(['filter']),
            products: relayStylePagination(['filter', 'sort']),
            users: relayStylePagination(['search']),
          },
        },
      },
    }),
  });
}

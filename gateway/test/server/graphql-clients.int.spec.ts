import { createHash } from 'node:crypto';
import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client';
import { BatchHttpLink } from '@apollo/client/link/batch-http';
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries';
import { Client, fetchExchange } from '@urql/core';
import { persistedExchange } from '@urql/exchange-persisted';
import { batchRequests, ClientError, GraphQLClient } from 'graphql-request';
import { describe, expect, test } from 'vitest';
import { gatewayOver, subgraph } from '../../../test/harness/test-gateway.ts';

// Clients that others publish, as their users set them up.

const HELLO = 'query Hello($name: String!) { hello(name: $name) }';
const CHANGE = 'mutation Change($name: String!) { change(name: $name) }';
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

interface Endpoint {
  readonly url: string;
  /** Remembers what it sends. */
  readonly fetch: typeof fetch;
  /** Method and HTTP status of what was sent so far, and whether it had a query and a hash. */
  readonly sent: string[];
}

async function endpoint(): Promise<Endpoint> {
  const a = await subgraph(
    'type Query { hello(name: String!): String } type Mutation { change(name: String!): String }',
  );
  const { url } = await gatewayOver({ a });
  const sent: string[] = [];
  return {
    url: `${url}/graphql`,
    sent,
    async fetch(input, init) {
      const response = await fetch(input, init);
      const content = init?.method === 'GET' ? new URL(String(input)).searchParams.toString() : String(init?.body);
      const parts = [
        content.includes('hello(') || content.includes('hello%28') ? 'query' : '',
        content.includes('sha256Hash') ? 'hash' : '',
      ];
      sent.push(`${init?.method} ${response.status} ${parts.filter(Boolean).join(' and ')}`);
      return response;
    },
  };
}

describe('Apollo Client', () => {
  const client = (link: ApolloClient.Options['link']) =>
    new ApolloClient({ link, cache: new InMemoryCache(), defaultOptions: { query: { fetchPolicy: 'no-cache' } } });

  test('queries, changes, and shows an error with its code', async () => {
    const { url, fetch } = await endpoint();
    const apollo = client(new HttpLink({ uri: url, fetch }));
    const { data } = await apollo.query({ query: gql(HELLO), variables: { name: 'a' } });
    expect(data).toEqual({ hello: 'hello' });
    expect((await apollo.mutate({ mutation: gql(CHANGE), variables: { name: 'a' } })).data).toEqual({
      change: 'change',
    });
    await expect(apollo.query({ query: gql('{ nothing }') })).rejects.toMatchObject({
      errors: [{ extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } }],
    });
  });

  test.each([
    ['POST', false],
    ['GET', true],
  ])(
    'with automatic persisted queries over %s sends the query when its hash is refused, and no more hashes',
    async (method, useGETForHashedQueries) => {
      const { url, fetch, sent } = await endpoint();
      const persisted = new PersistedQueryLink({ sha256, useGETForHashedQueries });
      const apollo = client(persisted.concat(new HttpLink({ uri: url, fetch })));
      for (const name of ['a', 'b']) {
        const { data } = await apollo.query({ query: gql(HELLO), variables: { name } });
        expect(data).toEqual({ hello: 'hello' });
      }
      expect(sent).toEqual([`${method} 200 hash`, 'POST 200 query', 'POST 200 query']);
    },
  );

  test('with batches learns that there are none', async () => {
    const { url, fetch } = await endpoint();
    const apollo = client(new BatchHttpLink({ uri: url, fetch, batchMax: 2, batchInterval: 1 }));
    const query = () => apollo.query({ query: gql(HELLO), variables: { name: 'a' } });
    for (const outcome of await Promise.allSettled([query(), query()])) {
      expect(outcome).toMatchObject({ status: 'rejected' });
      expect(JSON.stringify(outcome, ['reason', 'bodyText', 'message', 'result'])).toContain(
        'Batching is not supported',
      );
    }
  });

  test('with a subscription learns that there are none', async () => {
    const { url, fetch } = await endpoint();
    const apollo = client(new HttpLink({ uri: url, fetch }));
    const outcome = await new Promise<{ error?: Error | undefined }>((resolve, reject) => {
      apollo.subscribe({ query: gql('subscription Ticks { ticks }') }).subscribe({ next: resolve, error: reject });
    });
    expect(outcome.error?.message).toContain('Subscriptions are not supported');
  });
});

describe('urql', () => {
  const client = ({ url, fetch }: Endpoint, preferGetMethod: boolean, persists: boolean) =>
    new Client({
      url,
      fetch,
      preferGetMethod,
      requestPolicy: 'network-only',
      exchanges: [
        ...(persists
          ? [
              persistedExchange({
                preferGetForPersistedQueries: preferGetMethod,
                generateHash: async (text) => sha256(text),
              }),
            ]
          : []),
        fetchExchange,
      ],
    });

  test.each([
    ['POST', false],
    ['GET', true],
  ])('queries over %s, changes, and shows an error with its code', async (_method, get) => {
    const urql = client(await endpoint(), get, false);
    expect((await urql.query(HELLO, { name: 'a' }).toPromise()).data).toEqual({ hello: 'hello' });
    expect((await urql.mutation(CHANGE, { name: 'a' }).toPromise()).data).toEqual({ change: 'change' });
    const { error } = await urql.query('{ nothing }', {}).toPromise();
    expect(error?.graphQLErrors[0]?.extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
  });

  test.each([
    ['POST', false],
    ['GET', true],
  ])(
    'with persisted queries over %s sends the query when its hash is refused, and no more hashes',
    async (method, get) => {
      const started = await endpoint();
      const urql = client(started, get, true);
      for (const name of ['a', 'b']) {
        expect((await urql.query(HELLO, { name }).toPromise()).data).toEqual({ hello: 'hello' });
      }
      expect(started.sent[0]).toBe(`${method} 200 hash`);
      expect(started.sent.slice(1).map((line) => line.replace(/^\w+ /, ''))).toEqual(['200 query', '200 query']);
    },
  );
});

describe('graphql-request', () => {
  test('queries, changes, and shows an error with its code', async () => {
    const { url, fetch } = await endpoint();
    const client = new GraphQLClient(url, { fetch });
    expect(await client.request(HELLO, { name: 'a' })).toEqual({ hello: 'hello' });
    expect(await client.request(CHANGE, { name: 'a' })).toEqual({ change: 'change' });
    const error = await client.request('{ nothing }').catch((reason: unknown) => reason);
    expect((error as ClientError).response.errors?.[0]?.extensions.code).toBe('GRAPHQL_VALIDATION_FAILED');
  });

  test('with a batch learns that there are none', async () => {
    const { url } = await endpoint();
    const document = { document: HELLO, variables: { name: 'a' } };
    const error = await batchRequests(url, [document, document]).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ClientError);
    expect((error as ClientError).message).toContain('Batching is not supported');
  });
});

test('a request with a hash and its query is executed, because some clients send both after a refused hash', async () => {
  const { url } = await endpoint();
  const extensions = { persistedQuery: { version: 1, sha256Hash: sha256(HELLO) } };
  const body = { query: HELLO, variables: { name: 'a' }, extensions };
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  expect(await response.json()).toEqual({ data: { hello: 'hello' } });
  const parameters = new URLSearchParams({
    query: HELLO,
    variables: '{"name":"a"}',
    extensions: JSON.stringify(extensions),
  });
  expect(await (await fetch(`${url}?${parameters}`)).json()).toEqual({ data: { hello: 'hello' } });
});

import { gql } from '@apollo/client';
import { gql as urqlGql } from '@urql/core';
import { fetchQuery, type GraphQLTaggedNode, commitMutation as relayMutate } from 'relay-runtime';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createClient as createApolloClient } from '../../docs/clients/apollo-client.ts';
import { createEnvironment } from '../../docs/clients/relay.ts';
import { type GraphError, isRetryable, retry } from '../../docs/clients/retry.ts';
import { createClient as createUrqlClient } from '../../docs/clients/urql.ts';
import { startGraph, type TestGraph } from '../harness/graph.ts';

// The code of docs/clients.md, against a running gateway.

const TOKEN = 'x-consistency-token';
const PRICE = 'query Price($id: ID!) { product(id: $id) { id price { amount } } }';
const CHANGE = 'mutation Change($id: ID!, $price: Decimal!) { changePrice(id: $id, price: $price) { id } }';
const ID = 'FUR-BO-10001798';

let graph: TestGraph;
let url = '';
beforeAll(async () => {
  graph = await startGraph();
  url = `${graph.urls.gateway}/graphql`;
});
afterAll(() => graph?.stop());

/** The token that each request carried, and the token of its response. */
const tokens: { sent: string | null; received: string | null }[] = [];
beforeEach(() => {
  tokens.length = 0;
});
const recordingFetch: typeof fetch = async (input, init) => {
  const response = await fetch(input, init);
  tokens.push({ sent: new Headers(init?.headers).get(TOKEN), received: response.headers.get(TOKEN) });
  return response;
};

/** A query, a mutation and a query: the second query carries the mutation's token, the mutation none. */
function expectTokenOfMutation(): void {
  expect(tokens).toEqual([
    { sent: null, received: null },
    { sent: null, received: expect.any(String) },
    { sent: tokens[1]?.received, received: null },
  ]);
}

test('Apollo Client reads its own writes', async () => {
  const client = createApolloClient(url, recordingFetch);
  const read = () => client.query({ query: gql(PRICE), variables: { id: ID }, fetchPolicy: 'network-only' });
  await read();
  await client.mutate({ mutation: gql(CHANGE), variables: { id: ID, price: '81.00' } });
  expect((await read()).data).toMatchObject({ product: { price: { amount: '81.00' } } });
  expectTokenOfMutation();
});

test('urql reads its own writes', async () => {
  const client = createUrqlClient(url, recordingFetch);
  const read = () => client.query(urqlGql(PRICE), { id: ID }, { requestPolicy: 'network-only' }).toPromise();
  await read();
  await client.mutation(urqlGql(CHANGE), { id: ID, price: '82.00' }).toPromise();
  expect((await read()).data).toMatchObject({ product: { price: { amount: '82.00' } } });
  expectTokenOfMutation();
});

test('Relay reads its own writes', async () => {
  const environment = createEnvironment(url, recordingFetch);
  const read = () => fetchQuery(environment, PRICE_ARTIFACT, { id: ID }).toPromise();
  await read();
  await new Promise((resolve, reject) =>
    relayMutate(environment, {
      mutation: CHANGE_ARTIFACT,
      variables: { id: ID, price: '83.00' },
      onCompleted: resolve,
      onError: reject,
    }),
  );
  expect(await read()).toMatchObject({ product: { price: { amount: '83.00' } } });
  expectTokenOfMutation();
});

describe('an order', () => {
  const place = (key: string, quantity = 1) =>
    graph.ask(
      `mutation Place($key: ID!, $quantity: Int!) {
        placeOrder(input: { customerId: "CG-12520", items: [{ productId: "${ID}", quantity: $quantity }] }, idempotencyKey: $key) { number }
      }`,
      { key, quantity },
    ) as Promise<{ data: { placeOrder: { number: string } } | null; errors?: readonly GraphError[] }>;

  test('that is sent twice with one idempotency key is placed once', async () => {
    const key = crypto.randomUUID();
    const [first, second] = [await retry(() => place(key)), await retry(() => place(key))];
    expect(second.data?.placeOrder.number).toBe(first.data?.placeOrder.number);
  });

  test('that reuses the key of another order fails, and is not retried', async () => {
    const key = crypto.randomUUID();
    await place(key);
    let attempts = 0;
    const { errors } = await retry(() => {
      attempts++;
      return place(key, 2);
    });
    expect(errors).toMatchObject([{ extensions: { code: 'CONFLICT', reason: 'IDEMPOTENCY_KEY_REUSED' } }]);
    expect(attempts).toBe(1);
  });
});

test('an operation is retried while a subgraph is unavailable, five times at most', async () => {
  const failed = { errors: [{ message: '', extensions: { code: 'SUBGRAPH_UNAVAILABLE' } }] };
  const results = [failed, failed, {}];
  expect(await retry(async () => results.shift() ?? failed, { delayMs: 1 })).toEqual({});
  let attempts = 0;
  const last = await retry(
    async () => {
      attempts++;
      return failed;
    },
    { delayMs: 1 },
  );
  expect([last, attempts]).toEqual([failed, 5]);
  expect(isRetryable([...failed.errors, { message: '', extensions: { code: 'NOT_FOUND' } }])).toBe(false);
});

// What relay-compiler generates of the two operations.

const field = (name: string, rest: object = {}) => ({ kind: 'ScalarField', alias: null, args: null, name, ...rest });
const variable = (name: string) => ({ kind: 'Variable', name, variableName: name });
const PRODUCT = { alias: null, concreteType: 'Product', kind: 'LinkedField', plural: false, storageKey: null };
const PRICE_ARTIFACT = artifact('query', 'Price', PRICE, ['id'], {
  ...PRODUCT,
  name: 'product',
  args: [variable('id')],
  selections: [
    field('id'),
    { ...PRODUCT, concreteType: 'Money', name: 'price', args: null, selections: [field('amount')] },
  ],
});
const CHANGE_ARTIFACT = artifact('mutation', 'Change', CHANGE, ['id', 'price'], {
  ...PRODUCT,
  name: 'changePrice',
  args: [variable('id'), variable('price')],
  selections: [field('id')],
});

function artifact(operationKind: string, name: string, text: string, variables: string[], selection: object) {
  const argumentDefinitions = variables.map((of) => ({ kind: 'LocalArgument', name: of, defaultValue: null }));
  const type = operationKind === 'query' ? 'Query' : 'Mutation';
  return {
    kind: 'Request',
    fragment: { kind: 'Fragment', name, type, metadata: null, argumentDefinitions, selections: [selection] },
    operation: { kind: 'Operation', name, argumentDefinitions, selections: [selection] },
    params: { id: null, cacheID: name, metadata: {}, name, operationKind, text },
  } as unknown as GraphQLTaggedNode;
}

import { signToken } from '@tributary/subgraph';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph, TOKEN_SECRET } from '../../../test/harness/graph.ts';
import { until } from '../../../test/harness/until.ts';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
  // The gateway has received invalidations of every service: from now on it caches what it reads.
  await until(
    async () => (await fetch(`${graph.urls.gateway}/metrics`)).text(),
    (metrics) =>
      ['users', 'products', 'orders'].every((name) => metrics.includes(`source_age_seconds{source="${name}"`)),
  );
});
afterAll(() => graph?.stop());

interface Explained {
  readonly switched: boolean;
  readonly fetches: readonly { subgraph: string; cached: number; entities: number }[];
}

/** Asks, and says how many answers and entities of each subgraph came from the cache, and whether owners were asked in place of copies. */
async function explained(query: string, headers: Record<string, string> = {}) {
  const answer = await graph.ask(query, {}, { 'x-explain': 'yes', ...headers });
  expect(answer.errors).toBeUndefined();
  const { switched, fetches } = (answer.extensions as { explanation: Explained }).explanation;
  const sources = fetches.map(({ subgraph, cached }) => `${subgraph}:${cached > 0 ? 'cache' : 'asked'}`).sort();
  return { data: answer.data, switched, sources };
}

const PRODUCT = '{ product(id: "FUR-BO-10001798") { name price { amount } stock { available } sales { unitsSold } } }';

/** Until the answer comes from the cache whole. */
const warm = (query: string, headers: Record<string, string> = {}) =>
  until(
    () => explained(query, headers),
    ({ sources }) => sources.every((source) => source.endsWith(':cache')),
  );

describe('what was read', () => {
  test('is served again without a question to a service', async () => {
    const { data } = await warm(PRODUCT);
    for (const statements of Object.values(graph.statements)) statements.length = 0;
    const again = await graph.ask(PRODUCT);
    expect(again.data).toEqual(data);
    expect(Object.values(graph.statements).map((statements) => statements.length)).toEqual([0, 0, 0]);
  });

  test('is fetched again as soon as it changed, wherever it is selected', async () => {
    const order =
      '{ order(number: "CA-2016-152156") { items { product { name price { amount } } } customer { name } } }';
    await warm(PRODUCT);
    await warm(order);
    const { headers } = await change('changePrice(id: "FUR-BO-10001798", price: "77.00")');
    const seen = { 'x-consistency-token': headers.get('x-consistency-token') as string };
    expect((await explained(PRODUCT, seen)).data.product.price.amount).toBe('77.00');
    expect((await explained(order, seen)).data.order.items[0].product.price.amount).toBe('77.00');
  });

  test('of which only a part is cached is fetched in part', async () => {
    const names = (first: number) => `{ orders(first: ${first}) { nodes { number items { product { category } } } } }`;
    await warm(names(2));
    const { sources } = await explained(names(3));
    expect(sources.filter((source) => source.startsWith('products'))).toEqual(['products:asked', 'products:cache']);
  });
});

test('a change invalidates what it affects, and nothing else, at once', async () => {
  const other = '{ product(id: "FUR-CH-10000454") { name price { amount } sales { unitsSold } } }';
  for (let i = 0; i < 20; i++) {
    await warm(PRODUCT);
    await warm(other);
    await change(`changePrice(id: "FUR-BO-10001798", price: "6${i % 10}.50")`);
    expect((await explained(other)).sources).toEqual(['orders:cache', 'products:cache']);
    const { data, sources } = await explained(PRODUCT);
    expect(data.product.price.amount).toBe(`6${i % 10}.50`);
    expect(sources).toEqual(['orders:cache', 'products:asked']);
  }
});

const change = (mutation: string, headers: Record<string, string> = {}) =>
  fetch(`${graph.urls.gateway}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query: `mutation { ${mutation} { id } }` }),
  });

test('what a mutation through this gateway has changed is not served from its cache, without any session', async () => {
  for (let i = 0; i < 40; i++) {
    await warm(PRODUCT);
    await change(`changePrice(id: "FUR-BO-10001798", price: "5${i % 10}.50")`);
    expect((await graph.ask(PRODUCT)).data.product.price.amount).toBe(`5${i % 10}.50`);
  }
});

describe("a mutation's own answer", () => {
  test('shows no copy that is older than the mutation', async () => {
    const rename = `mutation Rename($id: ID!, $name: String!) {
      updateUser(id: $id, input: { name: $name }) { name orders(first: 2) { nodes { customer { name } } } }
    }`;
    for (let i = 0; i < 20; i++) {
      const name = `Renamed ${i}`;
      const { data, errors } = await graph.ask(rename, { id: 'AA-10315', name });
      expect(errors).toBeUndefined();
      const customers = data.updateUser.orders.nodes.map((node: { customer: { name: string } }) => node.customer.name);
      expect([data.updateUser.name, ...customers]).toEqual([name, name, name]);
    }
  });

  test('shows what an earlier field of it has done, where the service of a later field has a copy', async () => {
    const both = `mutation RenameAndOrder($id: ID!, $name: String!, $product: ID!, $productName: String!, $key: ID!) {
      updateUser(id: $id, input: { name: $name }) { name }
      updateProduct(id: $product, input: { name: $productName }) { name }
      placeOrder(input: { customerId: $id, items: [{ productId: $product, quantity: 1 }], waitMs: 0 }, idempotencyKey: $key) {
        customer { name }
        items { product { name } }
      }
    }`;
    for (let i = 0; i < 10; i++) {
      const variables = {
        id: 'AA-10315',
        name: `Buyer ${i}`,
        product: 'FUR-CH-10000454',
        productName: `Chair ${i}`,
        key: `own-${i}`,
      };
      const { data, errors } = await graph.ask(both, variables);
      expect(errors).toBeUndefined();
      expect(data.placeOrder).toEqual({
        customer: { name: `Buyer ${i}` },
        items: [{ product: { name: `Chair ${i}` } }],
      });
    }
  });
});

describe('a session', () => {
  test('sees its own write in every answer, also in what orders copy', async () => {
    const query = '{ user(id: "CG-12520") { name } order(number: "CA-2016-152156") { customer { name } } }';
    for (let i = 0; i < 20; i++) {
      await warm(query);
      const response = await change(`updateUser(id: "CG-12520", input: { name: "Name ${i}" })`);
      const token = response.headers.get('x-consistency-token') as string;
      const { data } = await explained(query, { 'x-consistency-token': token });
      expect(data).toEqual({ user: { name: `Name ${i}` }, order: { customer: { name: `Name ${i}` } } });
    }
  });

  test('is stored in a cookie that scripts cannot read, when the client requests it', async () => {
    const response = await change('changePrice(id: "FUR-BO-10001798", price: "78.00")', {
      'x-consistency-cookie': 'true',
    });
    const cookie = response.headers.get('set-cookie') as string;
    expect(cookie).toMatch(/^tributary-consistency=[\w-]+; Path=\/; HttpOnly; SameSite=Lax/);
    const { data } = await explained(PRODUCT, { cookie: cookie.split(';')[0] as string });
    expect(data.product.price.amount).toBe('78.00');
  });

  test('is also read and issued under the names of an earlier release', async () => {
    const response = await change('changePrice(id: "FUR-BO-10001798", price: "78.50")', { 'x-session': 'cookie' });
    const token = response.headers.get('x-session-token') as string;
    expect(token).toBe(response.headers.get('x-consistency-token'));
    expect(response.headers.get('set-cookie')).toContain(`tributary-consistency=${token};`);
    for (const [name, value] of [
      ['x-session-token', token],
      ['cookie', `tributary-session=${token}`],
    ] as const) {
      const { data } = await explained(PRODUCT, { [name]: value });
      expect(data.product.price.amount).toBe('78.50');
    }
  });

  test('that is none is refused', async () => {
    const answer = await graph.ask(PRODUCT, {}, { 'x-consistency-token': 'nonsense' });
    expect(answer.errors?.[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'x-consistency-token' });
  });
});

describe('a bound on staleness', () => {
  const order = '{ order(number: "CA-2016-152156") { customer { name email } items { product { name } } } }';

  test('of 0 reads from owners only, in a header or in the query', async () => {
    await warm(order);
    const byHeader = await explained(order, { 'x-max-staleness': '0' });
    expect(byHeader.switched).toBe(true);
    expect(byHeader.sources).toEqual(['orders:asked', 'products:asked', 'users:asked']);
    const byQuery = await explained(`query @maxStaleness(of: "0") ${order}`);
    expect(byQuery).toEqual(byHeader);
  });

  test('that copies and caches keep leaves them in use', async () => {
    await warm(order);
    const { switched, sources } = await explained(order, { 'x-max-staleness': '2s' });
    expect(switched).toBe(false);
    expect(sources).toEqual(['orders:cache']);
  });

  test.each(['soon', '-1', '5', '0.5', '5 days'])('of "%s" is refused', async (bound) => {
    const answer = await graph.ask(order, {}, { 'x-max-staleness': bound });
    expect(answer.errors?.[0]?.extensions).toMatchObject({ code: 'BAD_USER_INPUT', field: 'x-max-staleness' });
  });
});

test('x-freshness adds the freshness of the response', async () => {
  const query = '{ order(number: "CA-2016-152156") { customer { name } items { product { category } } } }';
  await warm(query);
  const hit = await graph.ask(query, {}, { 'x-freshness': 'yes' });
  expect(hit.extensions?.freshness).toEqual({
    switched: false,
    sources: ['orders', 'products'].map((subgraph) => ({
      subgraph,
      cache: 'hit',
      ageMs: expect.any(Number),
      copyLagMs: {},
    })),
  });
  expect(hit.extensions).not.toHaveProperty('explanation');
  const miss = await graph.ask(
    '{ order(number: "CA-2016-152156") { total { currency } } }',
    {},
    { 'x-freshness': 'yes' },
  );
  expect(miss.extensions?.freshness).toEqual({
    switched: false,
    sources: [
      {
        subgraph: 'orders',
        cache: 'miss',
        ageMs: 0,
        copyLagMs: { users: expect.any(Number), products: expect.any(Number) },
      },
    ],
  });
});

test('private data is cached for each client separately', async () => {
  const query = '{ user(id: "CG-12520") { account { balance { amount } } } }';
  const one = { authorization: 'Bearer one' };
  await until(
    () => explained(query, one),
    ({ sources }) => sources.every((source) => source.endsWith(':cache')),
  );
  expect((await explained(query, { authorization: 'Bearer two' })).sources).toEqual(['users:asked']);
});

test('no client gets what was cached for another one, whatever it sends', async () => {
  const bearer = async (id: string) => ({ authorization: `Bearer ${await signToken(TOKEN_SECRET, id)}` });
  const [one, two] = [await bearer('CG-12520'), await bearer('DV-13045')];
  const query = 'query Me($x: Boolean = true) { me { id name @include(if: $x) account { balance { amount } } } }';
  await warm(query, one);
  const headers: Record<string, string>[] = [
    {},
    two,
    { ...two, 'x-consistency-token': 'e30' },
    { ...two, 'x-request-id': 'same' },
    { ...two, 'x-max-staleness': '60s' },
    { cookie: `authorization=${one.authorization}` },
  ];
  const queries = [
    query,
    query.replace('name', 'a: name'),
    query.replace('me {', 'm: me {'),
    query.replace('Me(', 'Other('),
  ];
  for (const sent of headers) {
    for (const variation of queries) {
      for (const variables of [{}, { x: true }, { x: false }, { x: true, authorization: one.authorization }]) {
        const { data } = await graph.ask(variation, variables, sent);
        const me = data.me ?? data.m;
        expect(me?.id).toBe('authorization' in sent ? 'DV-13045' : undefined);
      }
    }
  }
  expect((await graph.ask(query, {}, one)).data.me.id).toBe('CG-12520');
});

test('an answer to GET is not sent again while it is the same', async () => {
  const url = `${graph.urls.gateway}/graphql?query=${encodeURIComponent(PRODUCT)}`;
  const first = await fetch(url);
  const etag = first.headers.get('etag') as string;
  expect(first.headers.get('cache-control')).toBe('public, no-cache');
  const same = await fetch(url, { headers: { 'if-none-match': etag } });
  expect([same.status, await same.text()]).toEqual([304, '']);
  await change('changePrice(id: "FUR-BO-10001798", price: "79.00")');
  const changed = await until(
    () => fetch(url, { headers: { 'if-none-match': etag } }),
    ({ status }) => status === 200,
  );
  expect(changed.headers.get('etag')).not.toBe(etag);
});

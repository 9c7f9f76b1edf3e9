import { describe, expect, test } from 'vitest';
import type { Fetcher, SubgraphRequest, SubgraphResult } from '../../src/subgraph/subgraph-client.js';
import { buildCase, cacheFor, type Entity, type FederatedCase } from '../graphs/federated-case.ts';

// Entity fetches that are sent together, one of which fails: as `@apollo/subgraph` has it, a resolver of a reference that throws
// costs the whole answer of the subgraph.

const product = (id: string): Entity => ({ __typename: 'Product', id, stock: Number(id) * 10, weight: 1 });
const products = ['1', '2', '404'].map(product);
const order: Entity = {
  __typename: 'Order',
  id: '1',
  paid: true,
  lines: ['1', '404'].map((id) => ({ __typename: 'Line', product: products.find((each) => each.id === id) })),
};
const shop: FederatedCase = {
  name: 'orders whose products another subgraph has',
  entities: [...products, order],
  roots: { order: () => order, hero: () => products[1], lost: () => products[2] },
  failing: (_subgraph, type, { id }) => type === 'Product' && id === '404',
  subgraphs: {
    a: `type Query { order(id: ID!): Order hero: Product lost: Product }
      type Order @key(fields: "id") { id: ID! lines: [Line!] } type Line { product: Product }
      type Product @key(fields: "id") { id: ID! }`,
    b: `type Order @key(fields: "id") { id: ID! paid: Boolean }
      type Product @key(fields: "id") { id: ID! stock(unit: String): Int weight: Int }`,
  },
};

const placesOf = (errors: readonly { path?: readonly (string | number)[] }[] = []) =>
  errors.map(({ path }) => path?.join('.')).sort();

describe('a fetch that fails in a batch costs no other', () => {
  const named = (fields: string) => `query Page($id: ID = "1") { ${fields} }`;

  test('of other fields', async () => {
    const { data, errors } = await buildCase(shop).run(
      named('order(id: $id) { paid lines { product { stock } } } hero { weight }'),
    );
    expect(data).toEqual({
      order: { paid: true, lines: [{ product: { stock: null } }, { product: { stock: null } }] },
      hero: { weight: 1 },
    });
    expect(placesOf(errors)).toEqual(['order.lines.0.product.stock']);
    expect(errors?.[0]?.extensions).toMatchObject({
      paths: [0, 1].map((i) => ['order', 'lines', i, 'product', 'stock']),
      pathCount: 2,
    });
  });

  test('of the same fields of other entities', async () => {
    const { data, errors } = await buildCase(shop).run('query Page { hero { stock } lost { stock } }');
    expect(data).toEqual({ hero: { stock: 20 }, lost: { stock: null } });
    expect(placesOf(errors)).toEqual(['lost.stock']);
  });

  test('also when a part of the batch comes from the cache', async () => {
    const { cache, reportUnchanged } = cacheFor(shop);
    const graph = buildCase({ ...shop, cacheable: true }, { cache });
    await graph.run('query First { hero { stock } }');
    reportUnchanged();
    const before = graph.sent.length;
    const { data, errors } = await graph.run(named('hero { stock } lost { stock } order(id: $id) { paid }'));
    expect(data).toEqual({ hero: { stock: 20 }, lost: { stock: null }, order: { paid: true } });
    expect(placesOf(errors)).toEqual(['lost.stock']);
    // The roots, the batch, and each of its two calls alone.
    const asked = graph.sent.slice(before).filter(({ subgraph }) => subgraph === 'b');
    const fields = asked.map(({ query }) =>
      query
        .match(/stock|paid/g)
        ?.sort()
        .join(),
    );
    expect(fields.sort()).toEqual(['paid', 'paid,stock', 'stock']);
  });

  test('and each is fetched again once, not more', async () => {
    const failing = () => true;
    const graph = buildCase({ ...shop, failing });
    const { data, errors } = await graph.run(named('order(id: $id) { paid } hero { stock } lost { weight }'));
    expect(data).toEqual({ order: { paid: null }, hero: { stock: null }, lost: { weight: null } });
    expect(placesOf(errors)).toEqual(['hero.stock', 'lost.weight', 'order.paid']);
    expect(graph.sent.filter(({ subgraph }) => subgraph === 'b')).toHaveLength(1 + 3);
  });
});

test('an error without a place stays with the call that failed', async () => {
  const source = buildCase({ ...shop, failing: () => false });
  const b = async (request: SubgraphRequest): Promise<SubgraphResult> => {
    const isBatch = JSON.parse(request.body).query.includes('_1:');
    if (!isBatch) return (source.fetchers.get('b') as Fetcher)(request);
    return { data: { _0: [{ stock: 20 }], _1: null }, errors: [{ message: 'lost' }] };
  };
  const graph = buildCase(shop, { fetchers: new Map([...source.fetchers, ['b', b]]) });
  const { data, errors } = await graph.run('query Page { hero { stock } order(id: "1") { paid } }');
  expect(data).toEqual({ hero: { stock: 20 }, order: { paid: true } });
  expect(errors).toBeUndefined();
});

describe('a value that is nested too deeply to be written', () => {
  const deep = () => JSON.parse(`${'['.repeat(3000)}${']'.repeat(3000)}`);
  const graphOf = () =>
    buildCase(
      { ...shop, subgraphs: { a: 'scalar Any type Query { any: Any stock: Int }' } },
      { fetchers: new Map([['a', async () => ({ data: { any: deep(), stock: 1 } })]]) },
    );

  test('costs its own field, also where several requests share the fetch', async () => {
    const graph = graphOf();
    const answers = await Promise.all(['One', 'Two'].map((name) => graph.run(`query ${name} { any stock }`)));
    for (const { data, errors } of answers) {
      expect(data).toEqual({ any: null, stock: 1 });
      expect(placesOf(errors)).toEqual(['any']);
    }
  });
});

test('a variable of the client may be called as those of a batch are', async () => {
  const graph = buildCase({ ...shop, failing: () => false });
  const query = `query Page($representations_0: String, $representations_1: String) {
    hero { stock(unit: $representations_0) } order(id: "1") { paid lines { product { other: stock(unit: $representations_1) weight } } }
  }`;
  const { data, errors } = await graph.run(query, { representations_0: 'kg', representations_1: 'lb' });
  expect(errors).toBeUndefined();
  expect(data).toMatchObject({
    hero: { stock: 20 },
    order: { paid: true, lines: [{ product: { other: 10, weight: 1 } }, {}] },
  });
});

describe('a fetcher that breaks its contract', () => {
  test.each([
    ['without a cache', false],
    ['with one', true],
  ])('%s costs the request, and no later one', async (_name, isCached) => {
    let broken = true;
    const { cache } = cacheFor(shop);
    const source = buildCase({ ...shop, cacheable: isCached, failing: () => false });
    const breaking = (request: SubgraphRequest): Promise<SubgraphResult> => {
      if (broken) throw new Error('broken');
      return (source.fetchers.get('b') as Fetcher)(request);
    };
    const fetchers = new Map([...source.fetchers, ['b', breaking]]);
    const graph = buildCase({ ...shop, cacheable: isCached }, { fetchers, ...(isCached && { cache }) });
    await expect(graph.run('query Page { hero { stock } order(id: "1") { paid } }')).rejects.toThrow('broken');
    broken = false;
    const { data } = await graph.run('query Page { hero { stock } order(id: "1") { paid } }');
    expect(data).toEqual({ hero: { stock: 20 }, order: { paid: true } });
  });
});

test('an error below a root that is reached again in a list is reported in each element', async () => {
  const items = ['1', '2'].map((id) => ({ __typename: 'Item', id, q: {} }));
  const graph = buildCase({
    name: 'a root in a list',
    entities: [],
    roots: { items: () => items, other: () => new Error('no other') },
    subgraphs: { a: 'type Query { items: [Item] } type Item { id: ID! q: Query }', b: 'type Query { other: Int }' },
  });
  const { data, errors } = await graph.run('query Page { items { id q { other } } }');
  expect(data).toEqual({
    items: [
      { id: '1', q: { other: null } },
      { id: '2', q: { other: null } },
    ],
  });
  expect(placesOf(errors)).toEqual(['items.0.q.other', 'items.1.q.other']);
});

import { describe, expect, test } from 'vitest';
import { EXPLAIN, smallGraph } from '../graphs/small-graph.ts';

// What the query planner does wrong on its own, and the engine makes good.

const priced = (insured = '') =>
  smallGraph({
    a: {
      sdl: `type Query { p(id: ID!): P }
            type P @key(fields: "id") { id: ID! price(currency: String = "USD", vat: Boolean = false): Int }`,
      resolvers: {
        Query: { p: (_: unknown, { id }: { id: string }) => ({ id }) },
        P: {
          __resolveReference: ({ id }: { id: string }) => ({ id }),
          price: (_: unknown, { currency, vat }: { currency: string; vat: boolean }) =>
            (currency === 'EUR' ? 90 : 100) + (vat ? 20 : 0),
        },
      },
    },
    b: {
      sdl: `type P @key(fields: "id") {
              id: ID! price(currency: String = "USD", vat: Boolean = false): Int @external
              ship: String @requires(fields: "price")
              ${insured} }`,
      resolvers: {
        P: {
          __resolveReference: (reference: object) => reference,
          ship: ({ price }: { price: number }) => `ship@${price}`,
          insured: ({ price }: { price: number }) => `insured@${price}`,
        },
      },
    },
  });

describe('a field that another subgraph requires and that has a default argument', () => {
  const graph = priced();
  const both = priced('insured: String @requires(fields: "price(currency: \\"EUR\\")")');

  test.each([
    ['query A { p(id: 1) { price(currency: "EUR") ship } }', { price: 90, ship: 'ship@100' }],
    ['query B { p(id: 1) { ship price(currency: "EUR", vat: true) } }', { ship: 'ship@100', price: 110 }],
    ['query C { p(id: 1) { price ship } }', { price: 100, ship: 'ship@100' }],
  ])('%s', async (query, p) => {
    expect(await graph.run(query)).toEqual({ data: { p } });
  });

  test.each([
    ['query D { p(id: 1) { price insured } }', { price: 100, insured: 'insured@90' }],
    ['query E { p(id: 1) { price(currency: "EUR") insured } }', { price: 90, insured: 'insured@90' }],
  ])('required with another argument: %s', async (query, p) => {
    expect(await both.run(query)).toEqual({ data: { p } });
  });

  test('with variables', async () => {
    const query = 'query Shown($c: String) { p(id: 1) { price(currency: $c) ship } }';
    expect(await graph.run(query, { variables: { c: 'EUR' } })).toEqual({
      data: { p: { price: 90, ship: 'ship@100' } },
    });
    expect(await graph.run(query)).toEqual({ data: { p: { price: 100, ship: 'ship@100' } } });
  });

  test('and literals still share a plan', async () => {
    const explained = async (id: number) => {
      const result = await both.engine.run({ query: `query L { p(id: ${id}) { id } }`, clientHeaders: EXPLAIN });
      return (result as { extensions: { explanation: { planning: { cached: boolean } } } }).extensions.explanation;
    };
    await explained(7);
    expect((await explained(8)).planning.cached).toBe(true);
  });
});

describe('a root type that a subgraph calls otherwise and that is reached again', () => {
  const graph = smallGraph({
    a: {
      sdl: `schema { query: RootQuery mutation: Changes }
            type RootQuery { me: RootQuery a: Int p: Payload }
            type Changes { change: Payload }
            type Payload { query: RootQuery! }`,
      resolvers: {
        RootQuery: { me: () => ({}), a: () => 1, p: () => ({}) },
        Changes: { change: () => ({}) },
        Payload: { query: () => ({}) },
      },
    },
    b: {
      sdl: 'schema { query: Start } type Start { b(n: Int): Int }',
      resolvers: { Start: { b: (_: unknown, { n }: { n?: number }) => n ?? 2 } },
    },
  });

  test.each([
    ['{ me { __typename a } }', { me: { __typename: 'Query', a: 1 } }],
    ['query Again { me { __typename a b } }', { me: { __typename: 'Query', a: 1, b: 2 } }],
    ['{ p { query { ... on Query { b(n: 5) me { b } } } } }', { p: { query: { b: 5, me: { b: 2 } } } }],
    ['mutation { change { query { a b } } }', { change: { query: { a: 1, b: 2 } } }],
  ])('%s', async (query, data) => {
    expect(await graph.run(query)).toEqual({ data });
  });
});

const media = (social: string) => ({
  catalogue: {
    sdl: `
      type Query { root: [Media] hits: [Hit] }
      interface Media @key(fields: "id") { id: ID! title: String }
      type Movie implements Media @key(fields: "id") { id: ID! title: String }
      type Series implements Media @key(fields: "id") { id: ID! title: String }
      union Hit = Movie | Series`,
    resolvers: {
      Query: {
        root: () => [
          { __typename: 'Movie', id: '1', title: 'A film' },
          { __typename: 'Series', id: '2', title: 'A series' },
        ],
      },
      Media: {
        __resolveReference: ({ id }: { id: string }) =>
          id === '1' ? { __typename: 'Movie', id, title: 'A film' } : { __typename: 'Series', id, title: 'A series' },
      },
    },
  },
  social: {
    sdl: social,
    resolvers: {
      Query: { feed: () => [{ id: '1' }, { id: '2' }] },
      Media: {
        __resolveReference(reference: { id?: string }) {
          if (reference.id === undefined) throw new Error('no key');
          return reference;
        },
        summary: ({ title }: { title: string }) => `About: ${title}`,
      },
    },
  },
});

test('an entity whose key the plan does not select is not sent to a subgraph', async () => {
  const graph = smallGraph(
    media(`type Media @interfaceObject @key(fields: "id") {
      id: ID! title: String @external summary: String @requires(fields: "title") }`),
  );
  expect(await graph.run('query Root { root { title ... on Movie { summary } } }')).toEqual({
    data: { root: [{ title: 'A film', summary: 'About: A film' }, { title: 'A series' }] },
  });
  const representations = graph.sent.flatMap(({ variables }) => (variables.representations as object[]) ?? []);
  expect(representations).toEqual([{ __typename: 'Media', id: '1', title: 'A film' }]);
});

test.each([
  ['an inline fragment', 'query Feed { feed { ... on Hit { __typename } } }'],
  ['a fragment', 'query Feed { feed { ...F } } fragment F on Hit { __typename ... on Media { __typename } }'],
])('%s on a union that the subgraph of the field does not have', async (_what, query) => {
  const graph = smallGraph(
    media('type Query { feed: [Media] } type Media @interfaceObject @key(fields: "id") { id: ID! likes: Int }'),
  );
  expect(await graph.run(query)).toEqual({ data: { feed: [{ __typename: 'Movie' }, { __typename: 'Series' }] } });
});

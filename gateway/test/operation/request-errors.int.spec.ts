import { describe, expect, test } from 'vitest';
import { smallGraph } from '../graphs/small-graph.ts';

// An error of the request says by its code what kind it is, and where in the client's document it is.

const SHOP = {
  shop: {
    sdl: `
      enum Colour { RED GREEN }
      input Filter { colour: Colour name: String }
      type Query { search(filter: Filter, first: Int): [Product!]! failing: Int }
      type Product @key(fields: "id") { id: ID! name: String }
    `,
    resolvers: {
      Query: {
        search: () => [],
        failing() {
          throw new Error('There is no column "pric". Did you mean "price" or "cost"? Ask your operator.');
        },
      },
    },
  },
};

describe('an error of the request has the code of its kind:', () => {
  const graph = smallGraph(SHOP);
  test.each([
    ['syntax', 'query Find {\n  search(first: ) { id } }', {}, 'GRAPHQL_PARSE_FAILED', [2, 17]],
    ['syntax that quotes', 'query Find {\n  "more than 1 tokens" }', {}, 'GRAPHQL_PARSE_FAILED', [2, 3]],
    ['an unknown field', 'query Find {\n  search { nam } }', {}, 'GRAPHQL_VALIDATION_FAILED', [2, 12]],
    [
      'a type of operation that the schema lacks',
      'mutation Change { change }',
      {},
      'GRAPHQL_VALIDATION_FAILED',
      [1, 1],
    ],
    ['a literal', 'query Find {\n  search(first: "ten") { id } }', {}, 'GRAPHQL_VALIDATION_FAILED', [2, 17]],
    ['a reserved name', 'query Find {\n  __proto__: search { id } }', {}, 'GRAPHQL_VALIDATION_FAILED', [2, 3]],
    [
      'a number that is too large',
      'query Find {\n  search(first: 1e999) { id } }',
      {},
      'GRAPHQL_VALIDATION_FAILED',
      [2, 17],
    ],
    [
      'a variable',
      'query Find($first: Int) { search(first: $first) { id } }',
      { first: 'ten' },
      'BAD_USER_INPUT',
      [1, 12],
    ],
    ['a staleness bound', 'query Find\n@maxStaleness(of: "soon") { search { id } }', {}, 'BAD_USER_INPUT', [2, 19]],
    [
      'a staleness bound without a unit',
      'query Find\n@maxStaleness(of: "5") { search { id } }',
      {},
      'BAD_USER_INPUT',
      [2, 19],
    ],
    [
      'a staleness bound in a variable',
      'query Find($of: String!)\n@maxStaleness(of: $of) { search { id } }',
      { of: '1s' },
      'BAD_USER_INPUT',
      [2, 19],
    ],
  ] as const)('%s', async (_what, query, variables, code, [line, column]) => {
    // Twice, because refusals are cached.
    for (let i = 0; i < 2; i++) {
      const { data, errors } = await graph.run(query, { variables });
      expect(data).toBeUndefined();
      expect(errors?.[0]).toMatchObject({ locations: [{ line, column }], extensions: { code } });
    }
  });

  test('a type of operation that the schema lacks, when that operation is selected', async () => {
    const query = 'query Find { search { id } } subscription Watch { search }';
    expect(await graph.run(query, { operationName: 'Find' })).toEqual({ data: { search: [] } });
    const { errors } = await graph.run(query, { operationName: 'Watch' });
    expect(errors).toMatchObject([{ locations: [{ column: 30 }], extensions: { code: 'GRAPHQL_VALIDATION_FAILED' } }]);
  });

  test('an operation that the document lacks', async () => {
    const { errors } = await graph.run('query Find { search { id } }', { operationName: 'Other' });
    expect(errors).toMatchObject([{ extensions: { code: 'OPERATION_RESOLUTION_FAILURE' } }]);
  });
});

describe("a subgraph's error is located in the client's text", () => {
  const graph = smallGraph(SHOP);
  test.each([
    ['in lines of all kinds', '{\n\r\n\r  failing\n}', [[4, 3]]],
    ['in its first line', '{ failing }', [[1, 3]]],
    [
      'at 20 of the places where it is selected',
      `{${'\nfailing'.repeat(90)} }`,
      Array.from({ length: 20 }, (_, i) => [i + 2, 1]),
    ],
  ])('%s', async (_what, query, locations) => {
    const { errors } = await graph.run(query);
    expect(errors).toMatchObject([{ locations: locations.map(([line, column]) => ({ line, column })) }]);
  });
});

describe('without suggestions, no message names what the client did not write:', () => {
  const open = smallGraph(SHOP);
  const closed = smallGraph(SHOP, { suggestions: false });
  test.each([
    ['a field', 'query Find { search { nam } }', {}],
    ['an argument', 'query Find { search(frist: 1) { id } }', {}],
    ['a type', 'query Find { search { ... on Produkt { id } } }', {}],
    ['an enum value', 'query Find { search(filter: { colour: REED }) { id } }', {}],
    ['an input field', 'query Find { search(filter: { nam: "x" }) { id } }', {}],
    ['an enum value in a variable', 'query Find($f: Filter) { search(filter: $f) { id } }', { f: { colour: 'REED' } }],
    ['an input field in a variable', 'query Find($f: Filter) { search(filter: $f) { id } }', { f: { nam: 'x' } }],
  ])('%s', async (_what, query, variables) => {
    const suggested = (await open.run(query, { variables })).errors?.[0];
    expect(suggested?.message).toMatch(/ Did you mean .*\?$/);
    for (let i = 0; i < 2; i++) {
      const { errors } = await closed.run(query, { variables });
      expect(errors).toEqual([{ ...suggested, message: suggested?.message?.replace(/ Did you mean .*/, '') }]);
    }
  });
});

test('without suggestions, none of a subgraph is passed on', async () => {
  const query = 'query Read { failing }';
  expect((await smallGraph(SHOP).run(query)).errors?.[0]?.message).toContain('price');
  const { errors } = await smallGraph(SHOP, { suggestions: false }).run(query);
  expect(errors).toMatchObject([
    {
      message: 'There is no column "pric". Ask your operator.',
      path: ['failing'],
      locations: [{ line: 1, column: 14 }],
    },
  ]);
});

describe('without introspection, an operation that reads the schema is refused:', () => {
  const open = smallGraph(SHOP);
  const closed = smallGraph(SHOP, { introspection: false });
  test.each([
    ['__schema', 'query Find { __schema { queryType { name } } }'],
    ['__type, with an alias and beside others', 'query Find { search { id } t: __type(name: "Query") { name } }'],
    ['in a fragment', 'query Find { ...F } fragment F on Query { ... { __type(name: "Query") { name } } }'],
    ['in an operation that is not selected', 'query Find { search { id } } query Read { __schema { __typename } }'],
  ])('%s', async (_what, query) => {
    expect((await open.run(query, { operationName: 'Find' })).errors).toBeUndefined();
    for (let i = 0; i < 2; i++) {
      const { data, errors } = await closed.run(query, { operationName: 'Find' });
      expect(data).toBeUndefined();
      expect(errors).toMatchObject([
        {
          message: expect.stringMatching(/^Introspection is disabled; the field "__(schema|type)" is not available\.$/),
          locations: [{}],
          extensions: { code: 'GRAPHQL_VALIDATION_FAILED', reason: 'INTROSPECTION_DISABLED' },
        },
      ]);
    }
  });

  test('and __typename is not', async () => {
    const { data, errors } = await closed.run('query Find { __typename search { __typename } }');
    expect(errors).toBeUndefined();
    expect(data).toEqual({ __typename: 'Query', search: [] });
  });
});

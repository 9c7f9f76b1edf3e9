import { beforeEach, describe, expect, test } from 'vitest';
import { EXPLAIN, smallGraph } from '../graphs/small-graph.ts';

// One client's text says nothing of another's operation, and what means the same is one operation.

const build = () =>
  smallGraph({
    a: {
      sdl: `scalar Any
            input F { a: Int b: [String!] c: F }
            type Query { item(id: ID!): Item search(f: F, any: Any, n: Int): [Item!] strict(any: Any): Int }
            type Item @key(fields: "id") { id: ID! echo(n: Int, id: ID): String }`,
      resolvers: {
        Query: {
          item: (_: unknown, { id }: { id: string }) => ({ id }),
          search: (_: unknown, args: object) => [{ id: JSON.stringify(args) }],
          strict(_: unknown, { any }: { any: unknown }) {
            if (any === 'bad') throw new Error('Variable "$v0" got invalid value "bad".');
            return 1;
          },
        },
        Item: { echo: (_: unknown, args: object) => JSON.stringify(args) },
      },
    },
    b: {
      sdl: 'type Item @key(fields: "id") { id: ID! stock(n: Int): Int }',
      resolvers: {
        Item: {
          __resolveReference: (reference: object) => reference,
          stock: (_: unknown, { n }: { n?: number }) => n ?? 30,
        },
      },
    },
  });
let graph: ReturnType<typeof build>;
beforeEach(() => {
  graph = build();
});

/** Whether an operation was planned before. */
async function isPlanned(query: string, variables: Record<string, unknown> = {}, operationName?: string) {
  const result = await graph.engine.run({ query, variables, operationName, clientHeaders: EXPLAIN });
  return (result as { extensions: { explanation: { planning: { cached: boolean } } } }).extensions.explanation.planning
    .cached;
}

describe('what is invalid is refused, whatever others sent before', () => {
  test('a field of an input object that is given twice', async () => {
    await graph.run('query Search { search(f: { a: 7 }) { id } }');
    const { data, errors } = await graph.run('query Search { search(f: { a: 3, a: 2 }) { id } }');
    expect(data).toBeUndefined();
    expect(errors).toMatchObject([{ message: 'There can be only one input field named "a".' }]);
  });

  test('a condition that is null, which fails its own request only', async () => {
    const query = 'query Page($c: Boolean = true) { item(id: "1") { id stock @include(if: $c) } }';
    await graph.run(query, { variables: { c: true } });
    const [isNull, isFalse] = await Promise.allSettled(
      [null, false].map((c) => graph.run(query, { variables: { c } })),
    );
    expect(isNull).toMatchObject({
      status: 'rejected',
      reason: {
        message: 'Argument "if" of non-null type "Boolean!" must not be null.',
        locations: [{ line: 1, column: 72 }],
        extensions: { code: 'BAD_USER_INPUT' },
      },
    });
    expect(isFalse).toEqual({ status: 'fulfilled', value: { data: { item: { id: '1' } } } });
    await expect(graph.run(query, { variables: { c: null } })).rejects.toThrow('must not be null');
    const schema = 'query Read($c: Boolean = true) { __schema { queryType { name @skip(if: $c) } } }';
    await expect(graph.run(schema, { variables: { c: null } })).rejects.toMatchObject({
      message: 'Argument "if" of non-null type "Boolean!" must not be null.',
      locations: [{ line: 1, column: 72 }],
    });
  });
});

describe('a client cannot change the cached operation of another', () => {
  const NAMED = 'query Named {\n  item(id: "1") { id stock }\n}';
  const DATA = { data: { item: { id: '1', stock: 30 } } };

  test.each([
    ['the name and a line break before the text', { query: `Named\n${NAMED}` }, 'Named'],
    [
      'the first line as the name',
      { query: NAMED.replace('query Named {\n', ''), operationName: 'query Named {' },
      undefined,
    ],
    ['a name that ends in the text', { query: `med${NAMED}`, operationName: 'Na' }, 'Named'],
    ['a number before the text', { query: `5:Named${NAMED}` }, 'Named'],
  ])('with %s', async (_what, attack, operationName) => {
    for (let i = 0; i < 3; i++) expect((await graph.run(attack.query, attack)).errors?.length).toBeGreaterThan(0);
    expect(await graph.run(NAMED, { operationName })).toEqual(DATA);
  });

  test('all at once', async () => {
    const attacks = ['Named\n', '5:Named', ':', '\n'].map((start) => graph.run(start + NAMED));
    const honest = [undefined, 'Named'].map((operationName) => graph.run(NAMED, { operationName }));
    await Promise.all(attacks);
    expect(await Promise.all(honest)).toEqual([DATA, DATA]);
  });

  test('with another operation of the same document that is wrong', async () => {
    expect(await graph.run(NAMED)).toEqual(DATA);
    const { data, errors } = await graph.run(`${NAMED} query Other { nothing }`, { operationName: 'Named' });
    expect(data).toBeUndefined();
    expect(errors?.[0]?.message).toContain('nothing');
  });

  test.each([
    ['a variable declared twice', 'query ($a: ID!, $a: ID!) { item(id: $a) { id stock } }'],
    ['a variable that is not declared', 'query { item(id: $v0) { id stock } }'],
    ['a fragment that is not used', '{ item(id: "1") { id stock } } fragment F on Item { id }'],
    [
      'a fragment that is defined twice',
      '{ item(id: "1") { ...F } } fragment F on Item { id } fragment F on Item { id }',
    ],
  ])('%s is refused, also when the rest of the operation is known', async (_what, query) => {
    await graph.run('query ($a: ID!) { item(id: $a) { id stock } }', { variables: { a: '1' } });
    await graph.run('{ item(id: "1") { ...F } } fragment F on Item { id }');
    expect((await graph.run(query, { variables: { a: '1', v0: '1' } })).errors?.length).toBeGreaterThan(0);
  });
});

describe('is planned once:', () => {
  test.each([
    ['another name', 'query One { item(id: "1") { stock } }', 'query Two { item(id: "1") { stock } }'],
    ['no name', 'query One { item(id: "1") { stock } }', '{ item(id: "1") { stock } }'],
    ['a literal for a variable', 'query One($x: ID!) { item(id: $x) { stock } }', '{ item(id: "2") { stock } }'],
    [
      'another name of a variable',
      'query ($x: ID!) { item(id: $x) { id } }',
      'query ($y: ID!) { item(id: $y) { id } }',
    ],
    ['another order of arguments', '{ search(n: 1, f: { a: 1 }) { id } }', '{ search(f: { a: 2 }, n: 3) { id } }'],
  ])('%s', async (_what, first, second) => {
    const variables = { x: '1', y: '1' };
    expect(await isPlanned(first, variables)).toBe(false);
    expect(await isPlanned(second, variables)).toBe(true);
  });

  test('one of several operations in a document', async () => {
    const document = 'query A { item(id: "1") { stock } } query B { item(id: "1") { id } }';
    expect(await isPlanned('{ item(id: "1") { stock } }')).toBe(false);
    expect(await isPlanned(document, {}, 'A')).toBe(true);
    expect(await isPlanned(document, {}, 'B')).toBe(false);
  });
});

test.each(['representations_0', 'representations', 'v1', 'v0', '_literal0', '_0'])(
  'a variable may be called $%s',
  async (name) => {
    const query = `query Named($${name}: Int, $other: Int) {
      a: item(id: "1") { stock(n: $${name}) echo(n: 7) }
      b: item(id: "2") { x: stock(n: $other) stock }
    }`;
    expect(await graph.run(query, { variables: { [name]: 5, other: 6 } })).toEqual({
      data: { a: { stock: 5, echo: '{"n":7}' }, b: { x: 6, stock: 30 } },
    });
  },
);

describe('an error speaks of what the client wrote', () => {
  test('of its variable', async () => {
    const { errors, data } = await graph.run('query Q($count: Int) { search(n: $count) { id } }', {
      variables: { count: 'many' },
    });
    expect(data).toBeUndefined();
    expect(errors?.[0]?.message).toContain('Variable "$count" got invalid value "many"');
    expect(errors?.[0]).toMatchObject({ locations: [{ line: 1, column: 9 }] });
  });

  test('of its variable and of its literal, in the words of a subgraph', async () => {
    const named = await graph.run('query Q($given: Any) { strict(any: $given) }', { variables: { given: 'bad' } });
    expect(named.errors?.[0]?.message).toBe('Variable "$given" got invalid value "bad".');
    const written = await graph.run('{ strict(any: "bad") }');
    expect(written.errors?.[0]?.message).toBe('Argument "bad" got invalid value "bad".');
  });

  test('of a number that is out of range, also inside a custom scalar', async () => {
    for (const literal of ['1e400', '{ deep: [-1e999] }', '9'.repeat(400)]) {
      const { data, errors } = await graph.run(`{ search(any: ${literal}) { id } }`);
      expect(data).toBeUndefined();
      expect(errors?.[0]?.message).toContain('is out of range');
    }
  });
});

describe('equal arguments in another order are one response key', () => {
  test.each([
    ['of an input object', '{ search(f: { a: 1, b: ["x"] }) { id } search(f: { b: ["x"], a: 1 }) { stock } }'],
    [
      'nested',
      '{ search(f: { a: 1, c: { a: 2, b: ["x"] } }) { id } search(f: { c: { b: ["x"], a: 2 }, a: 1 }) { stock } }',
    ],
    [
      'with a variable',
      'query N($x: Int) { search(f: { a: $x, b: ["x"] }) { id } search(f: { b: ["x"], a: $x }) { stock } }',
    ],
    [
      'of a custom scalar',
      '{ search(any: { a: 1, b: [{ c: 1, d: 2 }] }) { id } search(any: { b: [{ d: 2, c: 1 }], a: 1 }) { stock } }',
    ],
    ['of a field', '{ search(n: 1, f: { a: 1 }) { id } search(f: { a: 1 }, n: 1) { stock } }'],
  ])('%s', async (_what, query) => {
    const result = await graph.engine.run({ query, variables: { x: 1 } });
    expect('text' in result && result.text.match(/"search"/g)).toHaveLength(1);
    expect(JSON.parse('text' in result ? result.text : '{}').data.search).toEqual([
      { id: expect.any(String), stock: 30 },
    ]);
  });
});

import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { buildCase } from '../graphs/federated-case.ts';
import { EXPLAIN } from '../graphs/small-graph.ts';

// Clients write ids and filters into their queries. Those that differ in nothing else are one operation, and mean what they say.

const SEED = Number(process.env.LITERALS_SEED ?? 1);

const build = () =>
  buildCase({
    name: 'literals',
    subgraphs: {
      echo: `
        scalar Any
        enum Colour { RED GREEN }
        input Inner { n: Int! = 7 ids: [ID!] }
        input Given { text: String inner: Inner colours: [Colour!] any: Any }
        type Query {
          echo(id: ID, n: Int = 5, x: Float, b: Boolean, s: String, c: Colour, l: [Int], g: Given, any: Any): String
          need(n: Int!): Int
          self: Self
        }
        type Self { echo(s: String): String self: Self }`,
    },
    entities: [],
    roots: {
      echo: (args) => JSON.stringify(args),
      need: ({ n }) => n,
      self: () => SELF,
    },
    computed: { 'Self.echo': (_self, args) => JSON.stringify(args) },
  });
const SELF = { __typename: 'Self', self: { __typename: 'Self' } };

let graph: ReturnType<typeof build>;
beforeAll(() => {
  graph = build();
});

async function isAsExpected(query: string, variables: Record<string, unknown> = {}) {
  const [actual, expected] = await Promise.all([graph.run(query, variables), graph.expected(query, variables)]);
  expect(actual.data, query).toEqual(JSON.parse(JSON.stringify(expected.data ?? null)) ?? undefined);
  expect(actual.errors?.map(({ message }) => message)).toEqual(expected.errors?.map(({ message }) => message));
  return actual;
}

/** Whether it was planned before, as the explanation says. */
async function isPlanned(query: string): Promise<boolean> {
  const result = await graph.engine.run({ query, clientHeaders: EXPLAIN });
  return (result as { extensions: { explanation: { planning: { cached: boolean } } } }).extensions.explanation.planning
    .cached;
}

describe('what a literal means, it means as a variable', () => {
  test.each([
    '{ echo(id: "a") }',
    '{ echo(id: 12345678901234567890) }',
    '{ echo(n: -3, x: 2.50, b: true, s: "a \\"b\\" \\u00e9", c: GREEN) }',
    '{ echo(x: 3) }',
    '{ echo(l: [1, 2, 3]) }',
    '{ echo(l: 4) }',
    '{ echo(l: []) }',
    '{ echo(l: [1, null]) }',
    '{ echo(s: null) }',
    '{ echo(n: null) }',
    '{ echo(g: { text: "t", inner: { ids: ["x", 2] }, colours: RED }) }',
    '{ echo(g: { inner: { n: 3 }, colours: [RED, GREEN] }) }',
    '{ echo(g: {}) }',
    '{ echo(any: "text") }',
    '{ echo(any: 1.50) }',
    '{ echo(any: { a: [1, RED] }) }',
    '{ echo(g: { any: { deep: 12 }, text: "beside it" }) }',
    '{ echo(s: """block\n  text""") }',
    '{ a: echo(n: 1) b: echo(n: 1) echo(n: 2) }',
    '{ echo(n: 1) echo(n: 1) }',
    'query Named { echo(n: 1) @include(if: true) need(n: 3) @skip(if: false) }',
    '{ self { ...F self { ...F } } } fragment F on Self { echo(s: "in a fragment") }',
  ])('%s', async (query) => {
    await isAsExpected(query);
  });

  test('beside variables of the client, which keep theirs', async () => {
    const query = 'query ($n: Int, $list: [Int]) { echo(n: $n, s: "written", l: $list) again: echo(n: 4, l: [1, 2]) }';
    await isAsExpected(query, { n: 9, list: [7] });
    await isAsExpected(query, {});
  });

  test(`whatever is written (LITERALS_SEED=${SEED})`, async () => {
    const value = fc.oneof(
      fc.record({ name: fc.constant('s'), text: fc.string().map((text) => JSON.stringify(text)) }),
      fc.record({ name: fc.constant('n'), text: fc.integer().map(String) }),
      fc.record({ name: fc.constant('x'), text: fc.double({ noNaN: true, noDefaultInfinity: true }).map(jsonNumber) }),
      fc.record({ name: fc.constant('l'), text: fc.array(fc.integer()).map((list) => JSON.stringify(list)) }),
      fc.record({ name: fc.constant('any'), text: fc.jsonValue().map(asLiteral) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(value, { selector: ({ name }) => name, minLength: 1 }), async (given) => {
        await isAsExpected(`{ echo(${given.map(({ name, text }) => `${name}: ${text}`).join(', ')}) }`);
      }),
      { numRuns: 200, seed: SEED },
    );
  });
});

describe('errors are about the literals of the client', () => {
  test.each([
    '{ echo(n: "text") }',
    '{ echo(n: 99999999999) }',
    '{ echo(c: BLUE) }',
    '{ echo(g: { nothing: 1 }) }',
    '{ echo(n: 1) echo(n: 2) }',
    '{ need }',
    '{ need(n: null) }',
    '{ echo(unknown: 1) }',
    '{ echo(n: 1) nothing }',
  ])('%s', async (query) => {
    const { errors } = await graph.run(query);
    expect(errors?.length).toBeGreaterThan(0);
    expect(JSON.stringify(errors)).not.toMatch(/\$v\d/);
  });
});

describe('operations that differ in their literals only', () => {
  test('are planned once', async () => {
    expect(await isPlanned('{ echo(id: "first", l: [1]) }')).toBe(false);
    expect(await isPlanned('{ echo(id: "second", l: [2, 3]) }')).toBe(true);
    // The same text again, and other white space.
    expect(await isPlanned('{ echo(id: "second", l: [2, 3]) }')).toBe(true);
    expect(await isPlanned('{  echo(id: "third",l:[])  }')).toBe(true);
    expect((await graph.run('{ echo(id: "fourth", l: [4]) }')).data?.echo).toBe('{"id":"fourth","n":5,"l":[4]}');
  });

  test('but what decides over the plan is not lifted', async () => {
    expect(await isPlanned('{ echo(s: "a") need(n: 1) @include(if: true) }')).toBe(false);
    expect(await isPlanned('{ echo(s: "a") need(n: 1) @include(if: false) }')).toBe(false);
    expect((await graph.run('{ echo(s: "a") need(n: 1) @include(if: false) }')).data).toEqual({
      echo: '{"n":5,"s":"a"}',
    });
  });

  test('and subgraphs are sent one text as well', async () => {
    graph.sent.length = 0;
    for (const id of ['p', 'q', 'r']) await graph.run(`{ echo(id: "${id}", b: true) }`);
    expect(new Set(graph.sent.map(({ query }) => query)).size).toBe(1);
    expect(graph.sent.map(({ variables }) => new Set(Object.values(variables)))).toEqual([
      new Set(['p', true]),
      new Set(['q', true]),
      new Set(['r', true]),
    ]);
  });
});

function jsonNumber(value: number): string {
  return JSON.stringify(value);
}

/** JSON as GraphQL writes it: names without quotation marks, where they are names. */
function asLiteral(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(asLiteral).join(', ')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).filter(([name]) => /^[A-Za-z]\w*$/.test(name));
  return `{${fields.map(([name, inner]) => `${name}: ${asLiteral(inner)}`).join(', ')}}`;
}

import { DateTime, JSONValue } from '@tributary/server';
import { describe, expect, test } from 'vitest';
import { smallGraph } from '../graphs/small-graph.ts';

const graph = (specified: (url: string | null | undefined) => string) =>
  smallGraph({
    a: {
      sdl: `
        scalar DateTime ${specified(DateTime.specifiedByURL)}
        scalar JSON ${specified(JSONValue.specifiedByURL)}
        type Query { at(when: DateTime, whens: [DateTime!]): String json(value: JSON): String }
        type Mutation { first: Int second(when: DateTime): String }`,
      resolvers: {
        Query: {
          at: (_: unknown, args: object) => JSON.stringify(args),
          json: (_: unknown, { value }: { value: unknown }) => JSON.stringify(value),
        },
        Mutation: { first: () => 1, second: (_: unknown, { when }: { when: string }) => when },
      },
    },
    b: { sdl: 'scalar DateTime type Query { other(when: DateTime): String }' },
  });

describe('a scalar of the services, as their schema says', () => {
  const { run, sent } = graph((url) => `@specifiedBy(url: "${url}")`);

  test.each([
    [
      'a variable',
      'query Q($t: DateTime) { at(when: $t) }',
      { t: 'yesterday' },
      'Variable "$t" got invalid value "yesterday"',
    ],
    ['a literal', 'query Q { at(when: "yesterday") }', {}, 'yesterday'],
    ['in a list', 'query Q { at(whens: ["2016-11-08T00:00:00Z", "later"]) }', {}, 'later'],
    ['after another mutation', 'mutation M($t: DateTime) { first second(when: $t) }', { t: 5 }, '$t'],
    ['in another subgraph', 'query Q($t: DateTime) { other(when: $t) }', { t: true }, '$t'],
  ])('is checked before anything is sent: %s', async (_what, query, variables, words) => {
    sent.length = 0;
    const { data, errors } = await run(query, { variables });
    expect(data).toBeUndefined();
    expect(errors?.[0]?.message).toContain(words);
    expect(sent).toEqual([]);
  });

  test.each([
    ['query Q($t: DateTime) { at(when: $t) }', { t: '2016-11-08T02:00:00+02:00' }],
    ['query Q($t: DateTime = "2016-11-08T02:00:00+02:00") { at(when: $t) }', {}],
    ['query Q { at(when: "2016-11-08T02:00:00+02:00") }', {}],
  ])('reaches the subgraph as the same moment: %s', async (query, variables) => {
    const { data, errors } = await run(query, { variables });
    expect(errors).toBeUndefined();
    expect(new Date(JSON.parse(String(data?.at)).when)).toEqual(new Date('2016-11-08T00:00:00Z'));
  });

  test('takes any JSON, with variables in it', async () => {
    const { data } = await run('query Q($x: JSON) { json(value: { a: [1, $x], b: "text" }) }', {
      variables: { x: { y: 1.5 } },
    });
    expect(JSON.parse(String(data?.json))).toEqual({ a: [1, { y: 1.5 }], b: 'text' });
  });
});

test.each([
  ['without a specification', () => ''],
  ['with another one', () => '@specifiedBy(url: "https://example.com/scalar")'],
])('a scalar of another graph with the same name is not checked: %s', async (_what, specified) => {
  const { run } = graph(specified);
  expect(await run('query Q($t: DateTime) { at(when: $t) }', { variables: { t: 'yesterday' } })).toEqual({
    data: { at: '{"when":"yesterday"}' },
  });
  expect(await run('{ at(when: "tomorrow") }')).toEqual({ data: { at: '{"when":"tomorrow"}' } });
});

test('a default of such a scalar does not stand in the way of introspection', async () => {
  const { run } = graph((url) => `@specifiedBy(url: "${url}")`);
  const query = 'query Q($d: DateTime = "2016-11-08T00:00:00Z") { __schema { queryType { name } } at(when: $d) }';
  expect(await run(query)).toEqual({
    data: { __schema: { queryType: { name: 'Query' } }, at: '{"when":"2016-11-08T00:00:00.000Z"}' },
  });
});

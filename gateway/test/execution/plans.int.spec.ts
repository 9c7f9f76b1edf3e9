import { describe, expect, test } from 'vitest';
import { until } from '../../../test/harness/until.ts';
import type { Explanation } from '../../src/execution/explanation.js';
import { operationLimits } from '../../src/plugins/operation-limits.js';
import { CASES } from '../graphs/cases.ts';
import { buildCase, cacheFor, type FederatedCase } from '../graphs/federated-case.ts';
import { HARDER_CASES } from '../graphs/harder-cases.ts';
import { EXPLAIN, smallGraph } from '../graphs/small-graph.ts';

const shop = CASES[0] as FederatedCase;
const forum = HARDER_CASES[1] as FederatedCase;
const moving = HARDER_CASES[3] as FederatedCase;

describe('entity fetches that come up at once', () => {
  test('of the same fields become one list of entities, each once', async () => {
    const graph = buildCase(shop);
    const { data } = await graph.run('query Stars { a: users { reviews { stars } } b: me { reviews { stars } } }');
    const asked = graph.sent.filter(({ subgraph }) => subgraph === 'reviews');
    expect(asked).toHaveLength(1);
    expect(asked[0]?.variables.representations).toHaveLength(3);
    expect(data).toMatchObject({ a: [{}, {}, {}], b: { reviews: [{ stars: 1 }, { stars: 4 }] } });
  });

  test('of different fields become one operation, in which an error finds its place', async () => {
    const graph = buildCase(shop);
    const query = 'query Mixed { a: reviews { product { notes } } b: reviews { product { price } } }';
    const [actual, expected] = [await graph.run(query), await graph.expected(query)];
    // So that there is something to merge: without it, more is sent.
    const apart = buildCase(shop, { mergeFetches: false });
    await apart.run(query);
    expect(graph.fetches()).toBeLessThan(apart.fetches());
    expect(actual.data).toEqual(JSON.parse(JSON.stringify(expected.data)));
    const places = ({ errors }: { errors?: readonly { path?: unknown }[] }) => errors?.map(({ path }) => String(path));
    expect(places(actual)?.sort()).toEqual(places(expected as never)?.sort());
    expect(actual.errors).toHaveLength(2);
  });

  test('stay apart when merging is off', async () => {
    const query = 'query Apart { a: users { reviews { stars } } b: users { reviews { body } } }';
    const merged = buildCase(shop);
    const { data } = await merged.run(query);
    const apart = buildCase(shop, { mergeFetches: false });
    expect((await apart.run(query)).data).toEqual(data);
    expect(apart.fetches()).toBeGreaterThan(merged.fetches());
  });
});

describe('the name of an operation', () => {
  const reviewed = (name: string) => `query ${name} { a: users { reviews { stars } } b: me { reviews { stars } } }`;

  test('keeps no entity fetches apart', async () => {
    const graph = buildCase(shop);
    await graph.run(reviewed('Page'));
    const asked = graph.sent.filter(({ subgraph }) => subgraph === 'reviews');
    expect(asked).toHaveLength(1);
    expect(asked[0]?.variables.representations).toHaveLength(3);
  });

  test('does not keep a fetch from joining one in flight of another operation', async () => {
    const alone = buildCase(shop);
    const [one, two] = ['Home', 'Page'].map(
      (name) => `query ${name} { users { name reviews { product { title inStock } } } }`,
    );
    await alone.run(one as string);
    const graph = buildCase(shop);
    // Both are planned; from here on they run in step.
    await graph.run(one as string);
    await graph.run(two as string);
    const before = graph.fetches();
    const answers = await Promise.all([graph.run(one as string), graph.run(two as string)]);
    expect(graph.fetches() - before).toBe(alone.fetches());
    expect(answers[0]?.data).toEqual(answers[1]?.data);
  });

  test('keeps nothing in the cache apart', async () => {
    const { cache } = cacheFor(shop);
    const graph = buildCase({ ...shop, cacheable: true }, { cache });
    const first = await graph.run(reviewed('Home'));
    const before = graph.fetches();
    expect(await graph.run(reviewed('Page'))).toEqual(first);
    expect(graph.fetches()).toBe(before);
  });

  test('reaches subgraphs in a header, cut where it is long', async () => {
    const graph = buildCase(shop);
    const long = `L${'o'.repeat(5000)}ng`;
    await graph.run(reviewed('Page'));
    await graph.run(reviewed(long));
    await graph.run('{ users { email } }');
    const cut = long.slice(0, 100);
    const names = graph.sent.map(({ headers }) => headers['x-apollo-operation-name']);
    expect(names).toEqual(['Page', 'Page', cut, cut, undefined]);
    const texts = graph.sent.map(({ query }) => query);
    expect(texts.slice(0, 2)).toEqual(texts.slice(2, 4));
  });
});

test('an entity below two owners is fetched with the context of each', async () => {
  const graph = buildCase(forum);
  const { data } = await graph.run('{ people { posts { id greeting } } }');
  expect(data?.people).toEqual([
    {
      posts: [
        { id: '2', greeting: 'de: Post 2' },
        { id: '3', greeting: 'de: Post 3' },
      ],
    },
    {
      posts: [
        { id: '1', greeting: 'en: Post 1' },
        { id: '3', greeting: 'en: Post 3' },
      ],
    },
  ]);
});

test.each([
  ['on', 1, 'stock'],
  ['off', 0, 'old'],
])('a label of a progressive @override that is %s selects the subgraph', async (_name, share, subgraph) => {
  const graph = buildCase(moving, { labels: new Map([['new-stock', share]]) });
  const { data } = await graph.run('{ items { stock } }');
  expect(data?.items).toHaveLength(3);
  const asked = graph.sent.find(({ query }) => /\bstock\b/.test(query));
  expect(asked?.subgraph).toBe(subgraph);
});

test('mutations run one after the other, in the order of the operation, in any subgraph', async () => {
  const log: string[] = [];
  const step = (name: string) => () => {
    log.push(name);
    return log.length;
  };
  const graph = buildCase({
    name: 'mutations',
    entities: [],
    roots: { a: step('a'), b: step('b') },
    subgraphs: {
      one: 'type Query { x: Int } type Mutation { a: Int }',
      two: 'type Mutation { b: Int }',
    },
  });
  const { data } = await graph.run('mutation { one: a two: b three: a four: a five: b }');
  expect(log).toEqual(['a', 'b', 'a', 'a', 'b']);
  expect(data).toEqual({ one: 1, two: 2, three: 3, four: 4, five: 5 });
});

test('@defer is accepted, and everything comes in one response', async () => {
  const graph = buildCase(shop);
  const { data, errors } = await graph.run('{ me { name ... @defer(label: "later") { reviews { stars } } } }');
  expect(errors).toBeUndefined();
  expect(data).toEqual({ me: { name: 'User 1', reviews: [{ stars: 1 }, { stars: 4 }] } });
});

describe('an operation that is too large is refused, with the limit that it broke:', () => {
  const limits = { maxTokens: 2000, plugins: [operationLimits({ depth: 6, aliases: 20, fields: 200 })] };
  const deep = `${'{ root { children '.repeat(1)}${'{ children '.repeat(8)}{ id }${' }'.repeat(10)}`;
  const bomb = `query { me { ...F0 } } ${Array.from(
    { length: 12 },
    (_, i) => `fragment F${i} on User { ${i === 11 ? 'name email' : `...F${i + 1} ...F${i + 1}`} }`,
  ).join(' ')}`;
  test.each([
    ['depth', deep, 'DEPTH'],
    ['aliases', `{ ${Array.from({ length: 30 }, (_, i) => `a${i}: me { name }`).join(' ')} }`, 'ALIASES'],
    ['fields, by fragments in fragments', bomb, 'FIELDS'],
    ['one field again and again', `{ ${'me { name } '.repeat(150)} }`, 'REPEATED_FIELDS'],
  ])('%s', async (_name, query, reason) => {
    const { errors, data } = await buildCase(shop, limits).run(query);
    expect(data).toBeUndefined();
    expect(errors?.[0]?.extensions).toMatchObject({ code: 'COST_LIMIT', reason });
  });

  test('tokens', async () => {
    const { errors } = await buildCase(shop, limits).run(`{ me { ${'name '.repeat(2500)} } }`);
    expect(errors).toMatchObject([
      {
        message: 'The document has too many tokens: expected at most 2000.',
        extensions: { code: 'COST_LIMIT', reason: 'TOKENS' },
      },
    ]);
  });

  test('lines, which need no tokens', async () => {
    const { run } = buildCase(shop, limits);
    expect((await run(`{${'\r\n'.repeat(1999)}me { name } }`)).errors).toBeUndefined();
    const { errors } = await run(`{${'\r\n'.repeat(2000)}me { name } }`);
    expect(errors).toMatchObject([
      {
        message: 'The document has too many lines: expected at most 2000.',
        extensions: { code: 'COST_LIMIT', reason: 'TOKENS' },
      },
    ]);
  });

  test('nesting that no parser can follow', async () => {
    const query = `{ ${'me { '.repeat(9000)} name ${'} '.repeat(9000)} }`;
    const { errors } = await buildCase(shop, { ...limits, maxTokens: 100_000 }).run(query);
    expect(errors).toMatchObject([{ extensions: { code: 'COST_LIMIT', reason: 'DEPTH' } }]);
  });
});

test('when the client has disconnected, nothing more is fetched', async () => {
  const graph = buildCase(shop);
  const query = '{ users { name reviews { product { title inStock } } } }';
  await graph.run(query);
  const whole = graph.fetches();
  const controller = new AbortController();
  const run = graph.engine.run({ query, cancellation: controller });
  await until(
    async () => graph.fetches(),
    (fetches) => fetches > whole,
  );
  controller.abort();
  await run;
  expect(graph.fetches()).toBeLessThan(2 * whole);
});

test('an explained response has the plan, and what was fetched at which path', async () => {
  const graph = buildCase(shop);
  const query = 'query Explained { a: users { reviews { stars } } b: me { reviews { stars } } }';
  const result = await graph.engine.run({ query, clientHeaders: EXPLAIN });
  const { explanation } = (result as { extensions: { explanation: Explanation } }).extensions;
  expect(explanation).toMatchObject({
    plan: { text: expect.stringContaining('Fetch(service: "reviews")'), json: { kind: 'QueryPlan' } },
    planning: { planner: 'native', cached: false },
    fetches: [
      { subgraph: 'users', paths: [''], entities: 0, shared: false },
      { subgraph: 'reviews', paths: ['a.@', 'b'], entities: 3, errors: 0 },
    ],
  });
  const again = await graph.engine.run({ query, clientHeaders: EXPLAIN });
  expect(again).toMatchObject({ extensions: { explanation: { planning: { cached: true } } } });
});

test('a mutation that took effect is not reported as refused when the one beside it is', async () => {
  let done = 0;
  const { run } = smallGraph({
    a: {
      sdl: 'type Query { done: Int } type Mutation { act: Int! refuse: Int! }',
      resolvers: {
        Mutation: {
          act: () => ++done,
          refuse() {
            throw new Error('There is no such thing.');
          },
        },
      },
    },
  });
  const { data, errors } = await run('mutation Both { first: act second: refuse }');
  expect(done).toBe(1);
  expect(data).toBeNull();
  expect(errors).toMatchObject([{ message: 'There is no such thing.', path: ['second'] }]);
});

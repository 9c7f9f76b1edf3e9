import { describe, expect, test } from 'vitest';
import { until } from '../../../test/harness/until.ts';
import { CASES } from '../graphs/cases.ts';
import { buildCase, type FederatedCase } from '../graphs/federated-case.ts';

const shop = CASES[0] as FederatedCase;
const QUERY = '{ users { name reviews { product { title inStock } } } }';

describe('equal requests at the same time', () => {
  test('share their fetches, and each has the whole answer for itself', async () => {
    const alone = buildCase(shop);
    const [whole] = [await alone.run(QUERY)];
    const graph = buildCase(shop);
    const answers = await Promise.all(Array.from({ length: 20 }, () => graph.run(QUERY)));
    expect(graph.fetches()).toBe(alone.fetches());
    for (const answer of answers) expect(answer.data).toEqual(whole.data);
  });

  test('do not share when their credentials differ', async () => {
    const alone = buildCase(shop);
    await alone.run(QUERY);
    const graph = buildCase(shop);
    await Promise.all(
      ['a', 'b'].map((token) => graph.run(QUERY, {}, { authorization: token, 'x-request-id': 'same' })),
    );
    expect(graph.fetches()).toBe(2 * alone.fetches());
  });

  test('do not share when sharing is off', async () => {
    const graph = buildCase(shop, { shareFetches: false });
    await graph.run(QUERY);
    const once = graph.fetches();
    await Promise.all([graph.run(QUERY), graph.run(QUERY)]);
    expect(graph.fetches()).toBe(3 * once);
  });

  test('share when their names, or the names of their variables, differ', async () => {
    const alone = buildCase(shop);
    await alone.run('query One($x: ID!) { product(id: $x) { title inStock } }', { x: '1' });
    const graph = buildCase(shop);
    const runs = [
      () => graph.run('query One($x: ID!) { product(id: $x) { title inStock } }', { x: '1' }),
      () => graph.run('query Two($y: ID!) { product(id: $y) { title inStock } }', { y: '1' }),
      () => graph.run('{ product(id: "1") { title inStock } }'),
    ];
    // All are planned; from here on they run in step.
    for (const run of runs) await run();
    const before = graph.fetches();
    const answers = await Promise.all(runs.map((run) => run()));
    expect(graph.fetches() - before).toBe(alone.fetches());
    for (const { data } of answers) expect(data).toEqual(answers[0]?.data);
  });
});

describe('a request with a bound on staleness joins what began', () => {
  const VERSION = 'query Page { item { version } }';

  /** A graph whose subgraph reads the version when it is asked, and answers when the test says so. */
  function slowGraph() {
    let version = 1;
    const answers: (() => void)[] = [];
    const graph = buildCase(
      {
        name: 'an item that changes',
        entities: [],
        roots: {},
        subgraphs: { items: 'type Query { item: Item } type Item @key(fields: "id") { id: ID! version: Int! }' },
      },
      {
        fetchers: new Map([
          [
            'items',
            () => {
              const read = { data: { item: { version } } };
              return new Promise((resolve) => answers.push(() => resolve(read)));
            },
          ],
        ]),
      },
    );
    const run = (maxStalenessMs: number) =>
      graph.engine.run({ query: VERSION, requirements: { positions: new Map(), maxStalenessMs } });
    const asked = (count: number) =>
      until(
        async () => answers.length,
        (length) => length === count,
      );
    return {
      run,
      asked,
      change: () => {
        version += 1;
      },
      answerAll: () => {
        for (const answer of answers) answer();
      },
    };
  }

  const versionIn = async (result: Promise<unknown>) =>
    JSON.parse(((await result) as { text: string }).text).data.item.version;

  test.each([
    ['0: nothing', 0, 2],
    ['a millisecond: nothing that began earlier', 1, 2],
    ['a minute: what began within it', 60_000, 1],
    ['none: any fetch in flight', Number.POSITIVE_INFINITY, 1],
  ])('%s', async (_name, bound, expected) => {
    const graph = slowGraph();
    const first = graph.run(Number.POSITIVE_INFINITY);
    await graph.asked(1);
    const began = performance.now();
    graph.change();
    await until(
      async () => performance.now() - began,
      (elapsed) => elapsed > 5,
    );
    const second = graph.run(bound);
    if (expected === 2) await graph.asked(2);
    graph.answerAll();
    expect(await versionIn(first)).toBe(1);
    expect(await versionIn(second)).toBe(expected);
  });
});

describe('an entity that is selected at several paths is fetched once', () => {
  test.each([
    ['', '{ a: product(id: "1") { inStock } b: product(id: "1") { inStock } }'],
    ['in a named query', 'query Two { a: product(id: "1") { inStock } b: product(id: "1") { inStock } }'],
    ['with variables', 'query Two($a: ID!, $b: ID!) { a: product(id: $a) { inStock } b: product(id: $b) { inStock } }'],
  ])('%s', async (_what, query) => {
    const graph = buildCase(shop);
    const { data } = await graph.run(query, { a: '1', b: '1' });
    expect(data?.a).toEqual(data?.b);
    expect(graph.sent).toHaveLength(2);
    expect(graph.sent[1]?.variables.representations).toHaveLength(1);
  });

  test('below a list and below another field', async () => {
    const graph = buildCase(shop);
    const query = 'query Both { reviews { product { inStock } } users { reviews { product { inStock } } } }';
    const { data } = await graph.run(query);
    const expected = await graph.expected(query);
    expect(data).toEqual(JSON.parse(JSON.stringify(expected.data)));
    for (const { variables } of graph.sent) {
      const representations = ((variables.representations as object[]) ?? []).map((each) => JSON.stringify(each));
      expect(new Set(representations).size).toBe(representations.length);
    }
  });
});

test('a name that would change what an object is, is refused', async () => {
  const graph = buildCase(shop);
  const { data, errors } = await graph.run('{ __proto__: me { name } }');
  expect(data).toBeUndefined();
  expect(errors?.[0]?.message).toContain('"__proto__" cannot be the name');
});

test('names that every object has by inheritance are names like others', async () => {
  const graph = buildCase(shop);
  const { data } = await graph.run('{ constructor: me { toString: name valueOf: reviews { hasOwnProperty: body } } }');
  expect(JSON.stringify(data)).toBe(
    '{"constructor":{"toString":"User 1","valueOf":[{"hasOwnProperty":"Review 1"},{"hasOwnProperty":"Review 4"}]}}',
  );
});

test('each of several errors is reported at its own path', async () => {
  const graph = buildCase(shop);
  const { errors } = await graph.run('{ reviews { product { notes } } a: product(id: "2") { notes } }');
  expect(errors?.map(({ message, path }) => [message, path])).toEqual(
    expect.arrayContaining([
      ['no notes', ['reviews', 1, 'product', 'notes']],
      ['no notes', ['a', 'notes']],
    ]),
  );
});

test('a null that must not be, and that no subgraph explained, has an error of its own', async () => {
  const graph = buildCase({
    name: 'an entity that one of two subgraphs does not have',
    entities: [],
    roots: { thing: () => ({ __typename: 'Thing', id: '1' }) },
    subgraphs: {
      a: 'type Query { thing: Thing } type Thing @key(fields: "id") { id: ID! }',
      b: 'type Thing @key(fields: "id") { id: ID! size: Int! }',
    },
  });
  const { data, errors } = await graph.run('{ thing { id size } }');
  expect(data).toEqual({ thing: null });
  expect(errors?.map(({ message, path }) => [message, path])).toEqual([
    ['Cannot return null for non-nullable field Thing.size.', ['thing', 'size']],
  ]);
});

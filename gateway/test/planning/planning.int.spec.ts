import { describe, expect, test } from 'vitest';
import type { Planners } from '../../src/planning/index.js';
import { CASES } from '../graphs/cases.ts';
import { buildCase, type FederatedCase } from '../graphs/federated-case.ts';
import { smallGraph } from '../graphs/small-graph.ts';
import { createPlanners } from '../graphs/test-planners.ts';

const shop = CASES[0] as FederatedCase;

/** Subgraphs that all resolve the same field of the same interface: the planner's ways multiply at each level. */
function wideGraph(subgraphs: number, planners?: Planners) {
  const names = Array.from({ length: subgraphs }, (_, i) => i);
  return smallGraph(
    Object.fromEntries(
      names.map((i) => {
        const type = (name: string) => `type ${name} implements I @key(fields: "id") {
          id: ID! next: I @shareable common: Int @shareable own${i}_${name}: Int }`;
        const sdl = `type Query { i${i}: I } interface I { next: I common: Int } ${type('A')} ${type('B')}`;
        return [`s${i}`, { sdl, resolvers: { Query: { [`i${i}`]: () => null } } }];
      }),
    ),
    {},
    planners,
  );
}
const deep = (levels: number) => `{ i0 { ${'next { '.repeat(levels)}common${' }'.repeat(levels)} } }`;

describe('an operation that can be planned in many ways', () => {
  const apollo = createPlanners({ planner: 'apollo' });

  test.each([2, 4, 10])('is planned by the native planner: %i levels', async (levels) => {
    expect(await wideGraph(4, createPlanners({ planner: 'native' })).run(deep(levels))).toEqual({ data: { i0: null } });
  });

  test("is refused where Apollo's planner would compare too many, and others run", async () => {
    const { run, engine } = wideGraph(4, apollo);
    for (const levels of [3, 4, 10]) {
      await expect(engine.run({ query: deep(levels) })).rejects.toMatchObject({
        extensions: { code: 'COST_LIMIT', reason: 'PLANNING' },
      });
    }
    expect(await run('{ i1 { common } }')).toEqual({ data: { i1: null } });
    expect(await run(deep(2))).toEqual({ data: { i0: null } });
  }, 20_000);

  test('is refused after a time, also when it consists of many parts, and is not planned again at once', async () => {
    const part = 'i0 { next { next { common ... on A { own0_A own1_A own2_A own3_A } } } }';
    const query = `{ ${Array.from({ length: 300 }, (_, i) => `a${i}: ${part}`).join(' ')} }`;
    const { run, engine } = wideGraph(4, createPlanners({ planner: 'apollo', timeoutMs: 300 }));
    await run('{ i1 { common } }');
    await expect(engine.run({ query })).rejects.toMatchObject({
      extensions: { code: 'COST_LIMIT', reason: 'PLANNING' },
    });
    const before = performance.now();
    await expect(engine.run({ query })).rejects.toMatchObject({ extensions: { reason: 'PLANNING' } });
    expect(performance.now() - before).toBeLessThan(300);
    // In a new process.
    expect(await run('query Another { i1 { common } }')).toEqual({ data: { i1: null } });
    expect(await run('{ i2 { common } }')).toEqual({ data: { i2: null } });
  }, 60_000);
});

test('many new operations of one client delay the new operation of another by about one of them', async () => {
  const { engine } = buildCase(shop);
  const heavy = (i: number) =>
    `query Heavy${i} { ${Array.from({ length: 60 }, (_, n) => `a${i}_${n}: users { name reviews { body product { title inStock } } }`).join(' ')} }`;
  const finished: string[] = [];
  const run = async (name: string, client: string, query: string) => {
    await engine.run({ query, client });
    finished.push(name);
  };
  const all = Array.from({ length: 12 }, (_, i) => run(`heavy ${i}`, 'one', heavy(i)));
  await new Promise((resolve) => setImmediate(resolve));
  all.push(run('novel', 'other', 'query Novel { me { name reviews { stars } } }'));
  await Promise.all(all);
  expect(finished.indexOf('novel')).toBeLessThanOrEqual(2);
}, 60_000);

describe('the memory of operations', () => {
  /** 12 levels of doubling fragments: some 8,000 fields in less than 1 kB; no two operations are alike. */
  const large = (i: number) => {
    const fragments = Array.from(
      { length: 11 },
      (_, n) => `fragment F${n} on Me { ${n === 10 ? 'n' : `me { ...F${n + 1} } b${n}: me { ...F${n + 1} }`} }`,
    );
    return `query Q${i} { x${i}: me { ...F0 } } ${fragments.join(' ')}`;
  };
  const graph = () =>
    smallGraph(
      { a: { sdl: 'type Query { me: Me } type Me { me: Me n: Int }', resolvers: { Query: { me: () => null } } } },
      { maxOperationsWeight: 20_000_000 },
    );

  test('is bounded by weight, whatever the count', async () => {
    const { engine } = graph();
    for (let i = 0; i < 12; i++) {
      await engine.run({ query: large(i) });
      expect(engine.operationsWeight).toBeLessThan(20_000_000);
    }
    expect(engine.operationsWeight).toBeGreaterThan(5_000_000);
  }, 120_000);

  test('counts the variants of an operation', async () => {
    const { engine } = graph();
    const names = ['a', 'b', 'c', 'd'];
    const query = `query V(${names.map((name) => `$${name}: Boolean!`).join()}) { me { n ${names
      .map((name) => `${name}: me { n } @include(if: $${name})`.replace('{ n } @include', '@include').concat(' { n }'))
      .join(' ')} } }`;
    const weights: number[] = [];
    for (let i = 0; i < 16; i++) {
      const variables = Object.fromEntries(names.map((name, bit) => [name, (i & (1 << bit)) !== 0]));
      expect(await engine.run({ query, variables })).toEqual({ text: '{"data":{"me":null}}' });
      weights.push(engine.operationsWeight);
    }
    for (let i = 1; i < weights.length; i++) expect(weights[i]).toBeGreaterThan(weights[i - 1] as number);
  });

  test('texts that differ in literals hold no operation each', async () => {
    const { engine, run } = smallGraph({
      a: {
        sdl: 'type Query { echo(s: String): String }',
        resolvers: { Query: { echo: (_: unknown, { s }: { s: string }) => s } },
      },
    });
    await run('{ echo(s: "first") }');
    const before = engine.operationsWeight;
    for (let i = 0; i < 100; i++) expect(await run(`{ echo(s: "${i}") }`)).toEqual({ data: { echo: String(i) } });
    expect((engine.operationsWeight - before) / 100).toBeLessThan(2000);
  });
});

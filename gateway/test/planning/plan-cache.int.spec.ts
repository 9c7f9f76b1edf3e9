import { buildSchema } from 'graphql';
import { expect, test } from 'vitest';
import { SupergraphSchema } from '../../src/lib/supergraph-schema.ts';
import { DocumentCache, type Operation } from '../../src/operation/index.ts';
import {
  overrideLabels,
  PlanCache,
  PlanningQueue,
  type QueryPlan,
  type QueryPlanner,
} from '../../src/planning/index.ts';

// A cache of plans with a planner of another kind: it needs no supergraph, and what plans are compiled to is up to its user.

const SCHEMA = 'type Query { a: Int b: Int }';

function createCache(plan: (options: Parameters<QueryPlanner['plan']>[1]) => QueryPlan) {
  const schema = buildSchema(SCHEMA);
  const supergraph = new SupergraphSchema(SCHEMA);
  const operations = new DocumentCache(schema, supergraph, { maxTokens: 100, maxOperations: 10 });
  const planner: QueryPlanner = { plan: async (_, options) => ({ plan: plan(options), planner: 'native' }) };
  const cache = new PlanCache({
    planners: { planner, authoritative: null, load: async () => ({ name: 'native', reason: null }) },
    operations,
    labels: overrideLabels(supergraph, new Map()),
    queue: new PlanningQueue({ limit: 10 }),
    compilePlan: ({ kind }) => `runs ${kind}`,
    compileOutput: (_, variables) => variables,
  });
  const operation = (query: string): Operation => {
    const checked = operations.parseAndValidate(query, undefined);
    if ('errors' in checked) throw checked.errors[0];
    return checked.operation;
  };
  return { cache, operation, operations };
}

const PLAN: QueryPlan = { kind: 'QueryPlan', node: { kind: 'Sequence', nodes: [] } };

test('plans an operation once for each set of its conditions, however many wait for it', async () => {
  const planned: Readonly<Record<string, boolean>>[] = [];
  const { cache, operation, operations } = createCache(({ conditions }) => {
    planned.push(conditions);
    return PLAN;
  });
  const conditional = operation('query ($v: Boolean!) { a @skip(if: $v) b }');
  const [name = ''] = conditional.conditions;
  const before = operations.weight;
  for (const value of [true, false]) {
    const variables = { [name]: value };
    const key = cache.keyOf(conditional, variables);
    expect(cache.get(conditional, key)).toBeUndefined();
    const prepare = () => cache.prepare(conditional, key, variables, 'client');
    const [first, second] = await Promise.all([prepare(), prepare()]);
    expect(first).toMatchObject({ plan: PLAN, run: 'runs Sequence', output: variables });
    expect(second).toBe(first);
    expect(cache.get(conditional, key)).toBe(first);
    expect(await cache.authoritative(conditional, first, key, variables, 'client')).toBeNull();
  }
  expect(planned).toEqual([{ [name]: true }, { [name]: false }]);
  expect(operations.weight).toBeGreaterThan(before);
});

test('an operation without a fetch has a plan without a function', async () => {
  const { cache, operation } = createCache(() => ({ kind: 'QueryPlan' }));
  const prepared = await cache.prepare(operation('{ a }'), '', {}, undefined);
  expect(prepared.run).toBeNull();
});

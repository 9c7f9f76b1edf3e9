import { type QueryPlan as ApolloQueryPlan, prettyFormatQueryPlan } from '@apollo/query-planner';
import { parse, validate } from 'graphql';
import { expect, test } from 'vitest';
import { Random } from '../../../test/harness/random.ts';
import type { Explanation } from '../../src/execution/explanation.js';
import { formatPlan } from '../../src/planning/format-plan.js';
import type { PlanNode } from '../../src/planning/query-plan.js';
import { CASES, IDS } from '../graphs/cases.ts';
import { buildCase } from '../graphs/federated-case.ts';
import { HARDER_CASES } from '../graphs/harder-cases.ts';
import { QueryWriter } from '../graphs/random-query.ts';
import { EXPLAIN } from '../graphs/small-graph.ts';

const QUERIES = 30;

test.each([...CASES, ...HARDER_CASES])(
  'plans are printed in the form of Apollo’s planner: $name',
  async (federated) => {
    const { apiSchema, engine } = buildCase(federated);
    const writer = new QueryWriter(apiSchema, new Random(17), IDS);
    let printed = 0;
    for (let attempt = 0; printed < QUERIES && attempt < QUERIES * 20; attempt++) {
      const { query, variables } = writer.write(`Query${attempt}`);
      if (validate(apiSchema, parse(query)).length > 0) continue;
      const result = await engine.run({ query, variables, clientHeaders: EXPLAIN });
      const { explanation } = ('extensions' in result ? result.extensions : {}) as { explanation?: Explanation };
      const plan = explanation?.plan;
      if (!plan) continue;
      printed += 1;
      expect(plan.text).toBe(prettyFormatQueryPlan(plan.json as ApolloQueryPlan));
    }
    expect(printed).toBe(QUERIES);
  },
);

test('nodes that are not executed yet are printed, too', () => {
  const fetch: PlanNode = {
    kind: 'Fetch',
    serviceName: 'items',
    operation: 'query Items__items__0{items{id}}',
    operationName: 'Items__items__0',
    operationKind: 'query' as never,
  };
  const nodes: PlanNode[] = [
    { kind: 'Condition', condition: 'a', ifClause: fetch, elseClause: fetch },
    { kind: 'Condition', condition: 'a', ifClause: fetch },
    { kind: 'Condition', condition: 'a', elseClause: { kind: 'Sequence', nodes: [fetch, fetch] } },
    {
      kind: 'Defer',
      primary: { subselection: '{items{id}}', node: fetch },
      deferred: [
        { depends: [{ id: '0' }], label: 'later', queryPath: ['items'], subselection: '{name}', node: fetch },
        { depends: [], queryPath: [] },
      ],
    },
  ];
  for (const node of nodes) {
    const plan = { kind: 'QueryPlan', node } as const;
    expect(formatPlan(plan)).toBe(prettyFormatQueryPlan(plan as unknown as ApolloQueryPlan));
  }
});

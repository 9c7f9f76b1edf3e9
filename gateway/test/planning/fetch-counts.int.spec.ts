import { expect, test } from 'vitest';
import type { PlannerName, Planners } from '../../src/planning/index.js';
import { CASES } from '../graphs/cases.ts';
import { buildCase, cacheFor, type FederatedCase } from '../graphs/federated-case.ts';
import { createPlanners } from '../graphs/test-planners.ts';

const [shop, , media, company, tree] = CASES as [
  FederatedCase,
  FederatedCase,
  FederatedCase,
  FederatedCase,
  FederatedCase,
];

/** What an operation costs: requests to subgraphs alone, of two equal ones at once, and again with a cache; entities sent alone. */
interface Counts {
  readonly alone: number;
  readonly twoAtOnce: number;
  readonly cached: number;
  readonly entities: number;
}
const counts = (alone: number, entities: number, cached = 0): Counts => ({ alone, twoAtOnce: alone, cached, entities });

interface Row {
  readonly graph: FederatedCase;
  readonly query: string;
  readonly native: Counts;
  readonly apollo: Counts;
}

const ROWS: readonly Row[] = [
  { graph: shop, query: '{ users { name vip } }', native: counts(1, 0, 1), apollo: counts(1, 0, 1) },
  {
    graph: shop,
    query: '{ users { email reviews { stars product { title } } } }',
    native: counts(2, 3),
    apollo: counts(2, 3),
  },
  {
    graph: shop,
    query: '{ products { title inStock shipping reviews { stars author { email } } } }',
    native: counts(4, 9),
    apollo: counts(4, 9),
  },
  {
    graph: shop,
    query: '{ me { vip reviews { stars } } users { reviews { body } } }',
    native: counts(2, 4),
    apollo: counts(2, 4),
  },
  { graph: media, query: '{ pieces { title plays } }', native: counts(2, 3, 2), apollo: counts(2, 3, 2) },
  { graph: company, query: '{ people { grade name bonus } }', native: counts(3, 8), apollo: counts(4, 12) },
  { graph: tree, query: '{ root { label size first { label size } } }', native: counts(3, 4), apollo: counts(3, 4) },
];

const PLANNERS: Readonly<Record<PlannerName, Planners>> = {
  native: createPlanners({ planner: 'native' }),
  apollo: createPlanners({ planner: 'apollo' }),
};

async function measure(graph: FederatedCase, query: string, planner: PlannerName) {
  const { run, sent, fetches } = buildCase(graph, {}, PLANNERS[planner]);
  const answer = await run(query);
  const alone = fetches();
  const representations = sent.flatMap(({ variables }) =>
    Object.entries(variables).flatMap(([name, value]) =>
      name.startsWith('representations') ? [value as readonly unknown[]] : [],
    ),
  );
  const entities = representations.reduce((sum, list) => sum + list.length, 0);
  for (const list of representations) expect(new Set(list.map((each) => JSON.stringify(each))).size).toBe(list.length);
  // Planned by now, the two run in step.
  const both = await Promise.all([run(query), run(query)]);
  expect(both).toEqual([answer, answer]);
  const twoAtOnce = fetches() - alone;

  const cacheable = { ...graph, cacheable: true };
  const { cache, reportUnchanged } = cacheFor(cacheable);
  const withCache = buildCase(cacheable, { cache }, PLANNERS[planner]);
  expect((await withCache.run(query)).data).toEqual(answer.data);
  reportUnchanged();
  const first = withCache.fetches();
  expect((await withCache.run(query)).data).toEqual(answer.data);
  return { answer, counts: { alone, twoAtOnce, cached: withCache.fetches() - first, entities } };
}

test.each(ROWS)('as many fetches as expected with both planners: $query', async ({ graph, query, native, apollo }) => {
  const byNative = await measure(graph, query, 'native');
  const byApollo = await measure(graph, query, 'apollo');
  expect({ native: byNative.counts, apollo: byApollo.counts }).toEqual({ native, apollo });
  expect(byNative.answer.data).toEqual(byApollo.answer.data);
  expect(byNative.counts.alone).toBeLessThanOrEqual(byApollo.counts.alone);
});

import type { OperationTypeNode } from 'graphql';
import { expect, test } from 'vitest';
import type { FetchNode, PlanNode } from '../planning/index.js';
import { plannedFetches } from './planned-fetches.js';

const fetch = (serviceName: string, operation = '{a}'): FetchNode => ({
  kind: 'Fetch',
  serviceName,
  operation,
  operationName: undefined,
  operationKind: 'query' as OperationTypeNode,
});
const flatten = (path: string[], node: PlanNode): PlanNode => ({ kind: 'Flatten', path, node });
const sequence = (...nodes: PlanNode[]): PlanNode => ({ kind: 'Sequence', nodes });
const parallel = (...nodes: PlanNode[]): PlanNode => ({ kind: 'Parallel', nodes });
const entity = (serviceName: string, path: string[]) => flatten(path, { ...fetch(serviceName), requires: [] });

test('each fetch names those that end just before it, and its whole path', () => {
  const branch = flatten(['items', '@'], sequence(entity('b', ['owner']), entity('c', ['owner', 'home'])));
  const node = sequence(fetch('a'), parallel(branch, entity('d', ['items', '@'])), entity('e', []));
  expect(plannedFetches({ kind: 'QueryPlan', node })).toMatchObject([
    { number: 1, subgraph: 'a', kind: 'root', path: [], after: [] },
    { number: 2, subgraph: 'b', kind: 'entity', path: ['items', '@', 'owner'], after: [1] },
    { number: 3, subgraph: 'c', path: ['items', '@', 'owner', 'home'], after: [2] },
    { number: 4, subgraph: 'd', path: ['items', '@'], after: [1] },
    { number: 5, subgraph: 'e', after: [3, 4] },
  ]);
});

test('an operation is what the subgraph is sent: without a name, and without a condition on the root type', () => {
  const node = fetch('a', 'query Named__0($v0:Int){...on Query{a(x:$v0)}}');
  const [{ operation, variables } = {}] = plannedFetches({
    kind: 'QueryPlan',
    node: { ...node, variableUsages: ['v0'] },
  });
  expect(operation).toBe('query ($v0: Int) {\n  a(x: $v0)\n}');
  expect(variables).toEqual(['v0']);
});

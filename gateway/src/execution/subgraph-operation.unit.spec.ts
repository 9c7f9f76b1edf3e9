import { type OperationTypeNode, parse } from 'graphql';
import { expect, test } from 'vitest';
import type { FetchNode } from '../planning/index.js';
import { mergeOperations } from './merged-operation.js';
import { SubgraphOperations } from './subgraph-operation.js';

const node = (operation: string, operationName?: string, serviceName = 'items'): FetchNode => ({
  kind: 'Fetch',
  serviceName,
  operation,
  operationName,
  operationKind: 'query' as OperationTypeNode,
});

test('an operation is the same whatever its name and number are, in every process', () => {
  const operations = new SubgraphOperations(null);
  const first = operations.of(node('query Home__items__0{item{id}}', 'Home__items__0'));
  expect(operations.of(node('query Page__items__7{item{id}}', 'Page__items__7'))).toBe(first);
  expect(new SubgraphOperations(null).of(node('{item{id}}')).id).toBe(first.id);
  expect(operations.of(node('{item{id}}', undefined, 'others')).id).not.toBe(first.id);
  expect(operations.of(node('{item{name}}')).id).not.toBe(first.id);
});

test('what is sent has no name', () => {
  const operation = new SubgraphOperations(null).of(
    node('query A__my_items__0($a:Int){item(a:$a,b:"\\"}"){id}}', 'A', 'my-items'),
  );
  expect(JSON.parse(`${operation.start}{}}`)).toEqual({
    query: 'query($a:Int){item(a:$a,b:"\\"}"){id}}',
    variables: {},
  });
});

test("variables of a batch get out of the way of the client's", () => {
  const operations = new SubgraphOperations(null);
  const entities = (field: string) =>
    operations.of({
      ...node(
        `query($representations:[_Any!]!,$representations_0:Int){_entities(representations:$representations){...on Item{${field}(a:$representations_0)}}}`,
      ),
      variableUsages: ['representations_0'],
    });
  const { text, variableNames, usages } = mergeOperations([entities('x'), entities('y')]);
  expect(usages).toEqual(['representations_0']);
  const names = variableNames.map((own) => own.get('representations'));
  expect(new Set([...names, ...usages]).size).toBe(3);
  const [definition] = parse(text).definitions;
  const declared = definition?.kind === 'OperationDefinition' ? definition.variableDefinitions : [];
  expect(new Set(declared?.map(({ variable }) => variable.name.value))).toEqual(new Set([...names, ...usages]));
});

test('large operations are cached up to a bound on their memory', () => {
  const operations = new SubgraphOperations(null);
  const first = operations.of(node('{item{id}}'));
  const large = (i: number) => node(`{item{${`a${i}: id `.repeat(10_000)}}}`);
  for (let i = 0; i < 10; i++) operations.of(large(i));
  expect(operations.of(node('{item{id}}'))).toBe(first);
  for (let i = 0; i < 200; i++) operations.of(large(i));
  const again = operations.of(node('{item{id}}'));
  expect(again).not.toBe(first);
  expect(again).toMatchObject({ id: first.id, text: first.text });
});

import { Kind, type OperationDefinitionNode, parse, print, type SelectionNode, stripIgnoredCharacters } from 'graphql';
import type { FetchNode } from '../planning/index.js';

const ROOT_CONDITION = /\.\.\.\s*on (Query|Mutation)\b/;

/**
 * A fetch from the root without an outermost `... on Query`: where a subgraph calls its root type something else, it would refuse
 * that as an unknown type.
 */
export function withoutRootCondition(node: FetchNode): FetchNode {
  if (!ROOT_CONDITION.test(node.operation)) return node;
  const document = parse(node.operation, { noLocation: true });
  const [operation, ...fragments] = document.definitions as [OperationDefinitionNode];
  const selections = operation.selectionSet.selections.flatMap(unwrapped);
  const definitions = [{ ...operation, selectionSet: { ...operation.selectionSet, selections } }, ...fragments];
  return { ...node, operation: stripIgnoredCharacters(print({ ...document, definitions })) };
}

function unwrapped(selection: SelectionNode): readonly SelectionNode[] {
  if (selection.kind !== Kind.INLINE_FRAGMENT || (selection.directives ?? []).length > 0) return [selection];
  const condition = selection.typeCondition?.name.value;
  const isRoot = condition === undefined || condition === 'Query' || condition === 'Mutation';
  return isRoot ? selection.selectionSet.selections.flatMap(unwrapped) : [selection];
}

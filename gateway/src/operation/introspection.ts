import { type DocumentNode, type FieldNode, Kind, type OperationDefinitionNode, type SelectionSetNode } from 'graphql';
import { fragmentsOf } from './fragments.js';

const INTROSPECTION_FIELDS = new Set(['__schema', '__type']);

/** Returns the selections of `__schema` and `__type` of an operation as a document of their own; null without any. */
export function introspectionOf(document: DocumentNode): DocumentNode | null {
  const fragments = fragmentsOf(document);
  const operation = document.definitions[0] as OperationDefinitionNode;
  const selections: FieldNode[] = [];
  const collect = (selectionSet: SelectionSetNode) => {
    for (const selection of selectionSet.selections) {
      if (selection.kind === Kind.FIELD) {
        if (INTROSPECTION_FIELDS.has(selection.name.value)) selections.push(selection);
      } else {
        const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? fragments[selection.name.value] : selection;
        if (fragment) collect(fragment.selectionSet);
      }
    }
  };
  collect(operation.selectionSet);
  if (selections.length === 0) return null;
  const definition = { ...operation, selectionSet: { kind: Kind.SELECTION_SET as const, selections } };
  return { ...document, definitions: [definition, ...Object.values(fragments)] };
}

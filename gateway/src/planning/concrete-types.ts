import {
  type DocumentNode,
  type FieldNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';
import { fragmentsOf } from '../operation/index.js';

const TYPENAME: FieldNode = { kind: Kind.FIELD, name: { kind: Kind.NAME, value: '__typename' } };

/**
 * Replaces each fragment on a union or an interface by fragments on its possible types. (The planner fails where a subgraph declares an
 * interface as an object (`@interfaceObject`) and a fragment is on a union that the subgraph does not declare.)
 */
export function withConcreteTypes(document: DocumentNode, schema: GraphQLSchema): DocumentNode {
  const fragments = fragmentsOf(document);
  const ofSet = ({ selections }: SelectionSetNode, parent: GraphQLNamedType | undefined): SelectionSetNode => {
    const expanded = selections.flatMap((selection) => ofSelection(selection, parent));
    return { kind: Kind.SELECTION_SET, selections: expanded.length > 0 ? expanded : [TYPENAME] };
  };
  const ofSelection = (selection: SelectionNode, parent: GraphQLNamedType | undefined): SelectionNode[] => {
    if (selection.kind === Kind.FIELD) {
      const { selectionSet, name } = selection;
      const field = isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[name.value] : undefined;
      return [
        selectionSet
          ? { ...selection, selectionSet: ofSet(selectionSet, field && getNamedType(field.type)) }
          : selection,
      ];
    }
    const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? fragments[selection.name.value] : selection;
    if (!fragment) return [];
    const condition = fragment.typeCondition ? schema.getType(fragment.typeCondition.name.value) : parent;
    return namesOf(condition, parent, schema).map((value) => ({
      kind: Kind.INLINE_FRAGMENT as const,
      typeCondition: { kind: Kind.NAMED_TYPE as const, name: { kind: Kind.NAME as const, value } },
      directives: selection.directives,
      selectionSet: ofSet(fragment.selectionSet, schema.getType(value)),
    }));
  };
  const definitions = document.definitions
    .filter((each): each is OperationDefinitionNode => each.kind === Kind.OPERATION_DEFINITION)
    .map((each) => ({
      ...each,
      selectionSet: ofSet(each.selectionSet, schema.getRootType(each.operation) ?? undefined),
    }));
  return { ...document, definitions };
}

/** The object types that fall under a condition and can be where it is. */
function namesOf(
  condition: GraphQLNamedType | undefined,
  parent: GraphQLNamedType | undefined,
  schema: GraphQLSchema,
): string[] {
  const possible = (type: GraphQLNamedType | undefined) =>
    (isAbstractType(type) ? schema.getPossibleTypes(type) : type ? [type] : []).map(({ name }) => name);
  const here = parent ? new Set(possible(parent)) : null;
  return possible(condition).filter((name) => here?.has(name) ?? true);
}

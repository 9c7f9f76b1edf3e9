import {
  type DocumentNode,
  type FragmentDefinitionNode,
  type GraphQLSchema,
  type InlineFragmentNode,
  isAbstractType,
  Kind,
  type SelectionNode,
  type SelectionSetNode,
  visit,
} from 'graphql';

/**
 * Replaces each fragment on a union or an interface by fragments on its possible types. (The planner fails where a subgraph declares an
 * interface as an object (`@interfaceObject`) and a fragment is on a union that the subgraph does not declare.)
 */
export function withConcreteTypes(document: DocumentNode, schema: GraphQLSchema): DocumentNode {
  const fragments = new Map<string, FragmentDefinitionNode>();
  for (const definition of document.definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
  }
  const expand = (selection: SelectionNode): readonly SelectionNode[] => {
    const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? inlined(selection, fragments) : selection;
    if (fragment.kind !== Kind.INLINE_FRAGMENT) return [fragment];
    const type = fragment.typeCondition && schema.getType(fragment.typeCondition.name.value);
    if (!isAbstractType(type)) return [fragment];
    return schema.getPossibleTypes(type).map(({ name }) => ({
      ...fragment,
      typeCondition: { kind: Kind.NAMED_TYPE as const, name: { kind: Kind.NAME as const, value: name } },
    }));
  };
  const operations = document.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION);
  // The visitor enters the returned selection set, so that what replaced a spread is expanded as well.
  return visit(
    { ...document, definitions: operations },
    {
      SelectionSet: (selectionSet): SelectionSetNode => ({
        ...selectionSet,
        selections: selectionSet.selections.flatMap(expand),
      }),
    },
  );
}

function inlined(
  { name, directives }: Extract<SelectionNode, { kind: Kind.FRAGMENT_SPREAD }>,
  fragments: ReadonlyMap<string, FragmentDefinitionNode>,
): InlineFragmentNode {
  const { typeCondition, selectionSet } = fragments.get(name.value) as FragmentDefinitionNode;
  return { kind: Kind.INLINE_FRAGMENT, typeCondition, directives, selectionSet };
}

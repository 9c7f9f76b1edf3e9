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
 * The same operation with a fragment for each possible type in place of one on a union or an interface. (The planner fails where a
 * subgraph knows an interface as an object (`@interfaceObject`) and a fragment is on a union that the subgraph does not know.)
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
  // Entered again, what a spread became is expanded as well.
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

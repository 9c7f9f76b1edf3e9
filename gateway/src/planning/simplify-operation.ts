import {
  type FragmentDefinitionNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  parse,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';

/**
 * Parses the operation of a native plan and writes it as Apollo's planner would: without spreads of fragments, which the native planner
 * writes for selections that repeat, and without conditions on the type that the field has anyway. So equal selections have one form in every
 * cache.
 *
 * @param schema the types of the supergraph
 */
export function simplifiedOperation(text: string, schema: GraphQLSchema): OperationDefinitionNode {
  const fragments = new Map<string, FragmentDefinitionNode>();
  let operation: OperationDefinitionNode | undefined;
  for (const definition of parse(text, { noLocation: true }).definitions) {
    if (definition.kind === Kind.FRAGMENT_DEFINITION) fragments.set(definition.name.value, definition);
    else if (definition.kind === Kind.OPERATION_DEFINITION) operation = definition;
  }
  if (!operation) throw new Error('The native planner returned a fetch without an operation.');

  const simplified = ({ selections }: SelectionSetNode, parent: GraphQLNamedType | undefined): SelectionSetNode => ({
    kind: Kind.SELECTION_SET,
    selections: selections.flatMap((selection) => ofSelection(selection, parent)),
  });
  const ofSelection = (selection: SelectionNode, parent: GraphQLNamedType | undefined): readonly SelectionNode[] => {
    if (selection.kind === Kind.FIELD) {
      const { selectionSet, name } = selection;
      if (!selectionSet) return [selection];
      const field = isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[name.value] : undefined;
      return [{ ...selection, selectionSet: simplified(selectionSet, field && getNamedType(field.type)) }];
    }
    const { typeCondition, selectionSet } =
      selection.kind === Kind.FRAGMENT_SPREAD
        ? (fragments.get(selection.name.value) as FragmentDefinitionNode)
        : selection;
    const condition = typeCondition?.name.value;
    const type = condition === undefined ? parent : schema.getType(condition);
    const inner = simplified(selectionSet, type);
    const { directives = [] } = selection;
    if (directives.length === 0 && (condition === undefined || condition === parent?.name)) return inner.selections;
    return [{ kind: Kind.INLINE_FRAGMENT, ...(typeCondition && { typeCondition }), directives, selectionSet: inner }];
  };
  const root = schema.getRootType(operation.operation) ?? undefined;
  return { ...operation, selectionSet: simplified(operation.selectionSet, root) };
}

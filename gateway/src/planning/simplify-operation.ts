import {
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isAbstractType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  parse,
  type SelectionNode,
  type SelectionSetNode,
} from 'graphql';

const TYPENAME: FieldNode = { kind: Kind.FIELD, name: { kind: Kind.NAME, value: '__typename' } };

/**
 * Parses the operation of a native plan and writes it as Apollo's planner would: without spreads of fragments, which the native planner
 * writes for selections that repeat, and without conditions on the type that the field has anyway. So equal selections have one form in every
 * cache. Selects `__typename` wherever an object can be of several types: the executor needs it there. Selected in the operation that is
 * planned, it would cost fetches: the planner does not count it as provided by `@provides`, or by an interface object.
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
      const type = field && getNamedType(field.type);
      const inner = simplified(selectionSet, type);
      return [{ ...selection, selectionSet: isAbstractType(type) ? withTypeName(inner) : inner }];
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

function withTypeName(selectionSet: SelectionSetNode): SelectionSetNode {
  const has = selectionSet.selections.some(
    (each) => each.kind === Kind.FIELD && !each.alias && each.name.value === '__typename',
  );
  return has ? selectionSet : { ...selectionSet, selections: [TYPENAME, ...selectionSet.selections] };
}

import {
  type DocumentNode,
  type FieldNode,
  type GraphQLSchema,
  isAbstractType,
  Kind,
  TypeInfo,
  visit,
  visitWithTypeInfo,
} from 'graphql';

const TYPENAME: FieldNode = { kind: Kind.FIELD, name: { kind: Kind.NAME, value: '__typename' } };

/** Selects `__typename` wherever an object can be of several types: the executor needs it there. */
export function withTypeNames(document: DocumentNode, schema: GraphQLSchema): DocumentNode {
  const types = new TypeInfo(schema);
  return visit(
    document,
    visitWithTypeInfo(types, {
      Field: {
        leave(field) {
          const { selectionSet } = field;
          if (!selectionSet || !isAbstractType(types.getType() && namedOf(types))) return undefined;
          const has = selectionSet.selections.some(
            (each) => each.kind === Kind.FIELD && !each.alias && each.name.value === '__typename',
          );
          if (has) return undefined;
          return { ...field, selectionSet: { ...selectionSet, selections: [TYPENAME, ...selectionSet.selections] } };
        },
      },
    }),
  );
}

function namedOf(types: TypeInfo) {
  let type = types.getType();
  while (type && 'ofType' in type) type = type.ofType;
  return type;
}

import {
  type GraphQLInputType,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isSpecifiedScalarType,
  Kind,
  type ValueNode,
  valueFromAST,
  valueFromASTUntyped,
} from 'graphql';

/**
 * Converts a literal to the JSON that a client would send in a variable of the same type.
 *
 * @returns undefined when the literal is invalid for the type, or might not mean the same in a variable
 */
export function literalValue(node: ValueNode, type: GraphQLInputType): unknown {
  if (!isPlain(node, type) || valueFromAST(node, type) === undefined) return undefined;
  return jsonOf(node, type);
}

/** Whether a literal is no number or one that JavaScript can represent. (JSON has no infinity, so `1e400` could not be sent on.) */
export function isFiniteNumber({ kind, ...node }: ValueNode): boolean {
  return (kind !== Kind.INT && kind !== Kind.FLOAT) || Number.isFinite(Number((node as { value: string }).value));
}

function jsonOf(node: ValueNode, type: GraphQLInputType): unknown {
  if (isNonNullType(type)) return jsonOf(node, type.ofType);
  if (isListType(type)) {
    return node.kind === Kind.LIST ? node.values.map((value) => jsonOf(value, type.ofType)) : jsonOf(node, type.ofType);
  }
  if (isInputObjectType(type) && node.kind === Kind.OBJECT) {
    const fields = type.getFields();
    return Object.fromEntries(
      node.fields.map(({ name, value }) => [name.value, jsonOf(value, fields[name.value]?.type as GraphQLInputType)]),
    );
  }
  // An ID that is written as a number may exceed JavaScript's safe integers.
  if (type.toString() === 'ID' && node.kind === Kind.INT) return node.value;
  return valueFromASTUntyped(node);
}

/** Whether a literal contains neither variables nor nulls, and has the same meaning in JSON. */
function isPlain(node: ValueNode, type: GraphQLInputType | undefined): boolean {
  if (!type || node.kind === Kind.NULL || node.kind === Kind.VARIABLE || !isFiniteNumber(node)) return false;
  if (isNonNullType(type)) return isPlain(node, type.ofType);
  if (isListType(type)) {
    const values = node.kind === Kind.LIST ? node.values : [node];
    return values.every((value) => isPlain(value, type.ofType));
  }
  if (isInputObjectType(type)) {
    const fields = type.getFields();
    return (
      node.kind === Kind.OBJECT &&
      // A duplicate field is invalid, which a JSON object cannot express.
      new Set(node.fields.map(({ name }) => name.value)).size === node.fields.length &&
      node.fields.every(({ name, value }) => isPlain(value, fields[name.value]?.type))
    );
  }
  if (isEnumType(type)) return node.kind === Kind.ENUM;
  // For a custom scalar, only a string is certain to mean the same in JSON.
  return isSpecifiedScalarType(type) ? node.kind !== Kind.ENUM : node.kind === Kind.STRING;
}

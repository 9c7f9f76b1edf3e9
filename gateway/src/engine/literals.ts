import {
  type DocumentNode,
  type GraphQLInputType,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isListType,
  isNonNullType,
  isSpecifiedScalarType,
  Kind,
  type OperationDefinitionNode,
  parse,
  parseType,
  print,
  TypeInfo,
  type ValueNode,
  type VariableDefinitionNode,
  valueFromAST,
  valueFromASTUntyped,
  visit,
  visitWithTypeInfo,
} from 'graphql';

/** Longer texts are hardly written by hand; parsing them is work for the planning queue. */
const MAX_LENGTH = 4000;
const PREFIX = '_literal';

/** A document whose literals are variables: what differs in them only has the same text. */
export interface Lifted {
  readonly text: string;
  readonly document: DocumentNode;
  /** What the literals were, by variable. */
  readonly literals: Readonly<Record<string, unknown>>;
}

/**
 * Makes variables of the literals that are arguments of fields, so that `product(id: "A")` and `product(id: "B")` are one operation, planned once.
 *
 * @returns null when there is nothing to lift, or when it is better left as it is (also when it is wrong: then it is told so as it was written)
 */
export function liftLiterals(schema: GraphQLSchema, text: string, maxTokens: number): Lifted | null {
  if (text.length > MAX_LENGTH || /__schema|__type\b/.test(text) || text.includes(PREFIX)) return null;
  const document = parsed(text, maxTokens);
  const operations = document?.definitions.filter(({ kind }) => kind === Kind.OPERATION_DEFINITION) ?? [];
  if (!document || operations.length !== 1) return null;

  const literals: Record<string, unknown> = {};
  const definitions: VariableDefinitionNode[] = [];
  const names = new Map<string, string>();
  const variableFor = (type: GraphQLInputType, value: unknown): string => {
    const key = `${type} ${JSON.stringify(value)}`;
    const known = names.get(key);
    if (known) return known;
    const name = `${PREFIX}${names.size}`;
    names.set(key, name);
    literals[name] = value;
    const variable = { kind: Kind.VARIABLE as const, name: { kind: Kind.NAME as const, value: name } };
    definitions.push({ kind: Kind.VARIABLE_DEFINITION, variable, type: parseType(String(type)) });
    return name;
  };
  const types = new TypeInfo(schema);
  const lifted = visit(
    document,
    visitWithTypeInfo(types, {
      // What decides over the plan stays what it is.
      Directive: () => false,
      Argument(argument) {
        const type = types.getInputType();
        const value = type && literalOf(argument.value, type);
        if (!type || value === undefined) return false;
        const name = { kind: Kind.NAME as const, value: variableFor(type, value) };
        return { ...argument, value: { kind: Kind.VARIABLE as const, name } };
      },
    }),
  );
  if (definitions.length === 0) return null;
  const withVariables: DocumentNode = {
    ...lifted,
    definitions: lifted.definitions.map((definition) =>
      definition.kind === Kind.OPERATION_DEFINITION ? declaring(definition, definitions) : definition,
    ),
  };
  return { text: print(withVariables), document: withVariables, literals };
}

function parsed(text: string, maxTokens: number): DocumentNode | null {
  try {
    return parse(text, { maxTokens, noLocation: true });
  } catch {
    return null;
  }
}

function declaring(
  operation: OperationDefinitionNode,
  definitions: readonly VariableDefinitionNode[],
): OperationDefinitionNode {
  return { ...operation, variableDefinitions: [...(operation.variableDefinitions ?? []), ...definitions] };
}

/** The value as a client would send it in a variable; undefined when it would not mean the same, or is none for the type. */
function literalOf(node: ValueNode, type: GraphQLInputType): unknown {
  if (!isPlain(node, type) || valueFromAST(node, type) === undefined) return undefined;
  return jsonOf(node, type);
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
  // An id that is written as a number may be larger than numbers are exact.
  if (type.toString() === 'ID' && node.kind === Kind.INT) return node.value;
  return valueFromASTUntyped(node);
}

/** Whether all of it is written out, and means in JSON what it means here. */
function isPlain(node: ValueNode, type: GraphQLInputType | undefined): boolean {
  if (!type || node.kind === Kind.NULL || node.kind === Kind.VARIABLE) return false;
  if (isNonNullType(type)) return isPlain(node, type.ofType);
  if (isListType(type)) {
    const values = node.kind === Kind.LIST ? node.values : [node];
    return values.every((value) => isPlain(value, type.ofType));
  }
  if (isInputObjectType(type)) {
    const fields = type.getFields();
    return (
      node.kind === Kind.OBJECT && node.fields.every(({ name, value }) => isPlain(value, fields[name.value]?.type))
    );
  }
  if (isEnumType(type)) return node.kind === Kind.ENUM;
  // Of a scalar of the graph's own, only a text is sure to mean the same either way.
  return isSpecifiedScalarType(type) ? node.kind !== Kind.ENUM : node.kind === Kind.STRING;
}

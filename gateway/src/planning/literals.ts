import {
  type DocumentNode,
  Kind,
  type OperationDefinitionNode,
  print,
  type ValueNode,
  type VariableDefinitionNode,
  visit,
} from 'graphql';

/** No variable of a normalized operation begins with it. */
const PREFIX = 'literal_';

/** A document in which variables stand for the literals of arguments. */
export interface DocumentWithoutLiterals {
  readonly document: DocumentNode;
  /** By the name of its variable. */
  readonly literals: Literals;
}

export interface Literals {
  readonly values: ReadonlyMap<string, ValueNode>;
  /** The client's variables, which literals may contain. */
  readonly variables: readonly VariableDefinitionNode[];
}

/**
 * Replaces the literals in arguments of fields by variables. The native planner reads literals and writes them anew: large numbers
 * fail, others lose digits, and the fields of objects change their order. (Most literals are variables before planning; those of custom scalars
 * are not.)
 */
export function withoutLiterals(document: DocumentNode): DocumentWithoutLiterals {
  const values = new Map<string, ValueNode>();
  /** One variable for equal literals: fields that differ in an argument could not be merged. */
  const names = new Map<string, string>();
  const replaced: DocumentNode = visit(document, {
    VariableDefinition: () => false,
    Directive: () => false,
    Argument(argument) {
      const { value } = argument;
      if (value.kind === Kind.VARIABLE || value.kind === Kind.NULL) return undefined;
      const text = print(value);
      const name = names.get(text) ?? `${PREFIX}${values.size}`;
      names.set(text, name);
      values.set(name, value);
      return { ...argument, value: { kind: Kind.VARIABLE as const, name: { kind: Kind.NAME as const, value: name } } };
    },
  });
  if (values.size === 0) return { document, literals: { values, variables: [] } };
  const variables: VariableDefinitionNode[] = [];
  const definitions = replaced.definitions.map((definition) => {
    if (definition.kind !== Kind.OPERATION_DEFINITION) return definition;
    variables.push(...(definition.variableDefinitions ?? []));
    return { ...definition, variableDefinitions: [...variables, ...[...values.keys()].map(declared)] };
  });
  return { document: { ...replaced, definitions }, literals: { values, variables } };
}

/** Puts the literals back into an operation of the plan, with the variables that they contain. */
export function withLiterals(
  operation: OperationDefinitionNode,
  { values, variables }: Literals,
): OperationDefinitionNode {
  if (values.size === 0) return operation;
  const contained = new Set<string>();
  const restored: OperationDefinitionNode = visit(operation, {
    VariableDefinition: ({ variable }) => (values.has(variable.name.value) ? null : false),
    Variable({ name }) {
      const value = values.get(name.value);
      if (value) visit(value, { Variable: (inner) => void contained.add(inner.name.value) });
      return value;
    },
  });
  const declaredHere = new Set(restored.variableDefinitions?.map(({ variable }) => variable.name.value));
  const added = variables.filter(
    ({ variable: { name } }) => contained.has(name.value) && !declaredHere.has(name.value),
  );
  if (added.length === 0) return restored;
  return { ...restored, variableDefinitions: [...(restored.variableDefinitions ?? []), ...added] };
}

/** The type is of no importance: the planner does not compare it. */
function declared(name: string): VariableDefinitionNode {
  return {
    kind: Kind.VARIABLE_DEFINITION,
    variable: { kind: Kind.VARIABLE, name: { kind: Kind.NAME, value: name } },
    type: { kind: Kind.NAMED_TYPE, name: { kind: Kind.NAME, value: 'String' } },
  };
}

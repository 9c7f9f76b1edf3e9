import {
  type DocumentNode,
  Kind,
  type OperationDefinitionNode,
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
  readonly literals: ReadonlyMap<string, ValueNode>;
}

/**
 * Replaces the literals in arguments of fields by variables. The native planner reads literals and writes them anew: large numbers
 * fail, others lose digits, and the fields of objects change their order. (Most literals are variables before planning; those of custom scalars
 * are not.) Literals that contain variables stay.
 */
export function withoutLiterals(document: DocumentNode): DocumentWithoutLiterals {
  const literals = new Map<string, ValueNode>();
  const replaced: DocumentNode = visit(document, {
    VariableDefinition: () => false,
    Directive: () => false,
    Argument(argument) {
      const { value } = argument;
      if (value.kind === Kind.VARIABLE || value.kind === Kind.NULL || hasVariables(value)) return undefined;
      const name = `${PREFIX}${literals.size}`;
      literals.set(name, value);
      return { ...argument, value: { kind: Kind.VARIABLE as const, name: { kind: Kind.NAME as const, value: name } } };
    },
  });
  if (literals.size === 0) return { document, literals };
  const definitions = replaced.definitions.map((definition) =>
    definition.kind === Kind.OPERATION_DEFINITION
      ? {
          ...definition,
          variableDefinitions: [...(definition.variableDefinitions ?? []), ...[...literals.keys()].map(declared)],
        }
      : definition,
  );
  return { document: { ...replaced, definitions }, literals };
}

/** Puts the literals back into an operation of the plan. */
export function withLiterals(
  operation: OperationDefinitionNode,
  literals: DocumentWithoutLiterals['literals'],
): OperationDefinitionNode {
  if (literals.size === 0) return operation;
  return visit(operation, {
    VariableDefinition: ({ variable }) => (literals.has(variable.name.value) ? null : false),
    Variable: ({ name }) => literals.get(name.value),
  });
}

function hasVariables(value: ValueNode): boolean {
  if (value.kind === Kind.LIST) return value.values.some(hasVariables);
  if (value.kind === Kind.OBJECT) return value.fields.some((field) => hasVariables(field.value));
  return value.kind === Kind.VARIABLE;
}

/** The type is of no importance: the planner does not compare it. */
function declared(name: string): VariableDefinitionNode {
  return {
    kind: Kind.VARIABLE_DEFINITION,
    variable: { kind: Kind.VARIABLE, name: { kind: Kind.NAME, value: name } },
    type: { kind: Kind.NAMED_TYPE, name: { kind: Kind.NAME, value: 'String' } },
  };
}

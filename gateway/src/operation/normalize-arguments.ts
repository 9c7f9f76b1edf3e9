import {
  type ArgumentNode,
  type DirectiveNode,
  type GraphQLArgument,
  type GraphQLField,
  Kind,
  type NameNode,
  parseType,
  print,
  type TypeNode,
  type ValueNode,
  type VariableDefinitionNode,
  type VariableNode,
} from 'graphql';
import { literalValue } from './normalize-literals.js';

/**
 * Normalizes the arguments of one operation: numbers its variables (`v0`, `v1`, …), converts literals in fields' arguments to further
 * variables, and sorts arguments by name. Equal values get the same form, whatever the order of their input fields.
 */
export class ArgumentNormalizer {
  /** The declarations of all variables, those for literals included. */
  readonly definitions: VariableDefinitionNode[] = [];
  /** The normalized names of the client's variables. */
  readonly variableNames = new Map<string, string>();
  /** The values of the literals that became variables, by normalized name. */
  readonly literals: Record<string, unknown> = {};
  /** By type and literal. */
  readonly #literalVariables = new Map<string, VariableNode>();
  /** The first form of each value, by the value with its input fields sorted. */
  readonly #values = new Map<string, ValueNode>();
  #hasInvalidVariables = false;

  /** @param declared the client's declarations of its variables */
  constructor(declared: readonly VariableDefinitionNode[]) {
    for (const { variable } of declared) {
      const { value } = variable.name;
      if (this.variableNames.has(value)) this.#hasInvalidVariables = true;
      else this.variableNames.set(value, `v${this.variableNames.size}`);
    }
    for (const each of declared) this.definitions.push(this.#definition(each));
  }

  /** Whether a variable is declared twice, or is used without a declaration. */
  get hasInvalidVariables(): boolean {
    return this.#hasInvalidVariables;
  }

  /** Normalizes the arguments of a field. */
  ofField(list: readonly ArgumentNode[], field: GraphQLField<unknown, unknown> | undefined): readonly ArgumentNode[] {
    return sortedByName(list).map((argument) => this.#argument(argument, field));
  }

  /** Normalizes directives and their arguments, whose literals stay: the planner and the gateway read them. */
  directives(directives: readonly DirectiveNode[] = []): readonly DirectiveNode[] {
    return directives.map(({ name, arguments: list = [] }) => ({
      kind: Kind.DIRECTIVE,
      name: nameOf(name),
      arguments: sortedByName(list).map((argument) => ({
        kind: Kind.ARGUMENT,
        name: nameOf(argument.name),
        value: this.#value(argument.value),
      })),
    }));
  }

  #definition({ variable, type, defaultValue, directives }: VariableDefinitionNode): VariableDefinitionNode {
    return {
      kind: Kind.VARIABLE_DEFINITION,
      variable: this.#variable(variable),
      type: parseType(print(type), { noLocation: true }),
      ...(defaultValue && { defaultValue: this.#value(defaultValue) as VariableDefinitionNode['defaultValue'] & {} }),
      directives: this.directives(directives) as never,
    };
  }

  #argument({ name, value }: ArgumentNode, field: GraphQLField<unknown, unknown> | undefined): ArgumentNode {
    const declared = field?.args.find((argument) => argument.name === name.value);
    return {
      kind: Kind.ARGUMENT,
      name: nameOf(name),
      value: (declared && this.#literalVariable(value, declared)) ?? this.#value(value),
    };
  }

  /** Converts a literal to a variable; undefined when the literal stays in the document. */
  #literalVariable(value: ValueNode, { type }: GraphQLArgument): VariableNode | undefined {
    if (value.kind === Kind.VARIABLE || value.kind === Kind.NULL) return undefined;
    const json = literalValue(value, type);
    if (json === undefined) return undefined;
    // By the literal's text: fields whose arguments differ for validation (`1` and `"1"` for an ID) must stay different.
    const key = `${type} ${print(sorted(value))}`;
    const existing = this.#literalVariables.get(key);
    if (existing) return existing;
    const name = `v${this.definitions.length}`;
    const variable: VariableNode = { kind: Kind.VARIABLE, name: { kind: Kind.NAME, value: name } };
    const typeNode: TypeNode = parseType(String(type), { noLocation: true });
    this.definitions.push({ kind: Kind.VARIABLE_DEFINITION, variable, type: typeNode, directives: [] });
    this.literals[name] = json;
    this.#literalVariables.set(key, variable);
    return variable;
  }

  /** Normalizes the variables in a value; equal values get the same form. */
  #value(value: ValueNode): ValueNode {
    if (value.kind === Kind.VARIABLE) return this.#variable(value);
    if (value.kind !== Kind.LIST && value.kind !== Kind.OBJECT) return copied(value);
    const key = print(sorted(value));
    const existing = this.#values.get(key);
    if (existing) return existing;
    const normalized = this.#compound(value);
    this.#values.set(key, normalized);
    return normalized;
  }

  #compound(value: ValueNode): ValueNode {
    switch (value.kind) {
      case Kind.VARIABLE:
        return this.#variable(value);
      case Kind.LIST:
        return { kind: Kind.LIST, values: value.values.map((element) => this.#compound(element)) };
      case Kind.OBJECT:
        return {
          kind: Kind.OBJECT,
          fields: value.fields.map(({ name, value: inner }) => ({
            kind: Kind.OBJECT_FIELD,
            name: nameOf(name),
            value: this.#compound(inner),
          })),
        };
      default:
        return copied(value);
    }
  }

  #variable({ name }: VariableNode): VariableNode {
    const normalized = this.variableNames.get(name.value);
    if (normalized === undefined) this.#hasInvalidVariables = true;
    return { kind: Kind.VARIABLE, name: { kind: Kind.NAME, value: normalized ?? name.value } };
  }
}

/** Copies a name without its location. */
export function nameOf({ value }: NameNode): NameNode {
  return { kind: Kind.NAME, value };
}

/** Copies a value without nested values, and without its location. */
function copied<Value extends ValueNode>({ loc: _, ...value }: Value): Value {
  return value as Value;
}

function sortedByName(list: readonly ArgumentNode[]): readonly ArgumentNode[] {
  return list.length < 2 ? list : [...list].sort((a, b) => compare(a.name.value, b.name.value));
}

/** A value with the input fields of its objects sorted by name, as validation compares values. */
function sorted(value: ValueNode): ValueNode {
  if (value.kind === Kind.LIST) return { ...value, values: value.values.map(sorted) };
  if (value.kind !== Kind.OBJECT) return value;
  const fields = value.fields.map((field) => ({ ...field, value: sorted(field.value) }));
  return { ...value, fields: fields.sort((a, b) => compare(a.name.value, b.name.value)) };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

import { createHash } from 'node:crypto';
import {
  type ArgumentNode,
  type DirectiveNode,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLArgument,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isInterfaceType,
  isObjectType,
  Kind,
  type NameNode,
  type OperationDefinitionNode,
  parseType,
  print,
  type SelectionNode,
  type SelectionSetNode,
  type TypeNode,
  type ValueNode,
  type VariableDefinitionNode,
  type VariableNode,
} from 'graphql';
import { literalValue } from './normalize-literals.js';

/** An operation without the parts that do not change its plan: its name, the names of its variables, and its literals. */
export interface NormalizedOperation {
  /** Equal for operations that have the same plan. */
  readonly hash: string;
  /** The operation and the fragments that it spreads, without locations. */
  readonly document: DocumentNode;
  /** The length of the document as JSON, in characters. */
  readonly size: number;
  /** The normalized name of each variable of the client. */
  readonly variableNames: ReadonlyMap<string, string>;
  /** The values of the literals that became variables, by normalized name. */
  readonly literals: Readonly<Record<string, unknown>>;
  /** Whether the document contains all of the client's: the client's is valid then if another document with the same hash is. */
  readonly isWhole: boolean;
}

/**
 * Normalizes one operation of a document: drops its name and unused definitions, converts literals in fields' arguments to variables,
 * numbers the variables (`v0`, `v1`, …), and sorts arguments by name. Equal arguments get the same form, whatever the order of their
 * input fields. The document need not be valid; its errors stay in the result.
 */
export function normalizeOperation(
  schema: GraphQLSchema,
  document: DocumentNode,
  selected: OperationDefinitionNode,
): NormalizedOperation {
  return new Normalizer(schema, document).normalize(selected);
}

class Normalizer {
  readonly #schema: GraphQLSchema;
  readonly #fragments = new Map<string, FragmentDefinitionNode>();
  readonly #definitions: VariableDefinitionNode[] = [];
  readonly #variableNames = new Map<string, string>();
  readonly #literals: Record<string, unknown> = {};
  /** By type and literal. */
  readonly #literalVariables = new Map<string, VariableNode>();
  /** The first form of each value, by the value with its input fields sorted. */
  readonly #values = new Map<string, ValueNode>();
  /** In the order of their first use; null while a fragment is being normalized. */
  readonly #used = new Map<string, FragmentDefinitionNode | null>();
  #isWhole: boolean;

  constructor(schema: GraphQLSchema, { definitions }: DocumentNode) {
    this.#schema = schema;
    let others = 0;
    for (const definition of definitions) {
      if (definition.kind === Kind.FRAGMENT_DEFINITION) this.#fragments.set(definition.name.value, definition);
      else others += 1;
    }
    // Validation must see further operations, and fragments that are defined twice.
    this.#isWhole = others === 1 && this.#fragments.size === definitions.length - 1;
  }

  normalize(selected: OperationDefinitionNode): NormalizedOperation {
    for (const { variable } of selected.variableDefinitions ?? []) {
      const { value } = variable.name;
      if (this.#variableNames.has(value)) this.#isWhole = false;
      else this.#variableNames.set(value, `v${this.#variableNames.size}`);
    }
    for (const definition of selected.variableDefinitions ?? []) this.#definitions.push(this.#definition(definition));

    const root = this.#schema.getRootType(selected.operation);
    const directives = this.#directives(selected.directives);
    const selectionSet = this.#selectionSet(selected.selectionSet, root ?? undefined);
    const operation: OperationDefinitionNode = {
      kind: Kind.OPERATION_DEFINITION,
      operation: selected.operation,
      variableDefinitions: this.#definitions,
      directives,
      selectionSet,
    };
    const used = [...this.#used.values()] as FragmentDefinitionNode[];
    if (used.length !== this.#fragments.size) this.#isWhole = false;
    const document: DocumentNode = { kind: Kind.DOCUMENT, definitions: [operation, ...used] };
    const text = JSON.stringify(document);
    return {
      hash: createHash('sha256').update(text).digest('base64url'),
      document,
      size: text.length,
      variableNames: this.#variableNames,
      literals: this.#literals,
      isWhole: this.#isWhole,
    };
  }

  #definition({ variable, type, defaultValue, directives }: VariableDefinitionNode): VariableDefinitionNode {
    return {
      kind: Kind.VARIABLE_DEFINITION,
      variable: this.#variable(variable),
      type: parseType(print(type), { noLocation: true }),
      ...(defaultValue && { defaultValue: this.#value(defaultValue) as VariableDefinitionNode['defaultValue'] & {} }),
      directives: this.#directives(directives) as never,
    };
  }

  #selectionSet({ selections }: SelectionSetNode, parent: GraphQLNamedType | undefined): SelectionSetNode {
    return { kind: Kind.SELECTION_SET, selections: selections.map((selection) => this.#selection(selection, parent)) };
  }

  #selection(selection: SelectionNode, parent: GraphQLNamedType | undefined): SelectionNode {
    switch (selection.kind) {
      case Kind.FIELD:
        return this.#field(selection, parent);
      case Kind.INLINE_FRAGMENT: {
        const { typeCondition, directives, selectionSet } = selection;
        const type = typeCondition ? this.#schema.getType(typeCondition.name.value) : parent;
        return {
          kind: Kind.INLINE_FRAGMENT,
          ...(typeCondition && { typeCondition: { kind: Kind.NAMED_TYPE, name: nameOf(typeCondition.name) } }),
          directives: this.#directives(directives),
          selectionSet: this.#selectionSet(selectionSet, type),
        };
      }
      default:
        this.#use(selection.name.value);
        return {
          kind: Kind.FRAGMENT_SPREAD,
          name: nameOf(selection.name),
          directives: this.#directives(selection.directives),
        };
    }
  }

  #use(name: string): void {
    const fragment = this.#fragments.get(name);
    if (!fragment || this.#used.has(name)) return;
    // Added before the recursion, which ends so for a fragment that spreads itself (validation refuses it).
    this.#used.set(name, null);
    const { typeCondition, directives, selectionSet } = fragment;
    this.#used.set(name, {
      kind: Kind.FRAGMENT_DEFINITION,
      name: nameOf(fragment.name),
      typeCondition: { kind: Kind.NAMED_TYPE, name: nameOf(typeCondition.name) },
      directives: this.#directives(directives),
      selectionSet: this.#selectionSet(selectionSet, this.#schema.getType(typeCondition.name.value)),
    });
  }

  #field(field: FieldNode, parent: GraphQLNamedType | undefined): FieldNode {
    const { alias, name, arguments: given = [], directives, selectionSet } = field;
    const definition = fieldOf(parent, name.value);
    return {
      kind: Kind.FIELD,
      ...(alias && { alias: nameOf(alias) }),
      name: nameOf(name),
      arguments: sortedByName(given).map((argument) => this.#argument(argument, definition)),
      directives: this.#directives(directives),
      ...(selectionSet && {
        selectionSet: this.#selectionSet(selectionSet, definition && getNamedType(definition.type)),
      }),
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
    const name = `v${this.#definitions.length}`;
    const variable: VariableNode = { kind: Kind.VARIABLE, name: { kind: Kind.NAME, value: name } };
    const typeNode: TypeNode = parseType(String(type), { noLocation: true });
    this.#definitions.push({ kind: Kind.VARIABLE_DEFINITION, variable, type: typeNode, directives: [] });
    this.#literals[name] = json;
    this.#literalVariables.set(key, variable);
    return variable;
  }

  #directives(directives: readonly DirectiveNode[] = []): readonly DirectiveNode[] {
    return directives.map(({ name, arguments: given = [] }) => ({
      kind: Kind.DIRECTIVE,
      name: nameOf(name),
      arguments: sortedByName(given).map((argument) => ({
        kind: Kind.ARGUMENT,
        name: nameOf(argument.name),
        value: this.#value(argument.value),
      })),
    }));
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
    const normalized = this.#variableNames.get(name.value);
    if (normalized === undefined) this.#isWhole = false;
    return { kind: Kind.VARIABLE, name: { kind: Kind.NAME, value: normalized ?? name.value } };
  }
}

function nameOf({ value }: NameNode): NameNode {
  return { kind: Kind.NAME, value };
}

/** Copies a value without nested values, and without its location. */
function copied<Value extends ValueNode>({ loc: _, ...value }: Value): Value {
  return value as Value;
}

function fieldOf(parent: GraphQLNamedType | undefined, name: string): GraphQLField<unknown, unknown> | undefined {
  return isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[name] : undefined;
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

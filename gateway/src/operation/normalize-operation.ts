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

/** An operation without what does not change its plan: its name, the names of its variables, and its literals. */
export interface NormalizedOperation {
  /** The same for operations that are planned alike. */
  readonly hash: string;
  /** The operation and the fragments that it uses, without locations. */
  readonly document: DocumentNode;
  /** The length of the normalized operation, serialized. */
  readonly size: number;
  /** The normalized name of each variable of the client. */
  readonly variableNames: ReadonlyMap<string, string>;
  /** The values of the literals that became variables, by normalized name. */
  readonly literals: Readonly<Record<string, unknown>>;
  /**
   * Whether nothing of the client's document is left out, so that the document is valid when an operation with the same hash is.
   */
  readonly isWhole: boolean;
}

/**
 * Normalizes one operation of a document: drops its name and what it does not use, makes variables of literals in arguments of
 * fields, numbers the variables (`v0`, `v1`, …), and orders arguments by name. Arguments that are equal, whatever the order of
 * their parts, are written alike. The document need not be valid; what is wrong with it stays in the result.
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
  /** How a value was written first, by the value in a fixed order. */
  readonly #written = new Map<string, ValueNode>();
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
    // Further operations, or a fragment that is defined twice, are for validation to see.
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
    // First, so that a fragment that spreads itself (which validation refuses) comes to an end.
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
      arguments: ordered(given).map((argument) => this.#argument(argument, definition)),
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
      value: (declared && this.#lifted(value, declared)) ?? this.#value(value),
    };
  }

  /** The variable that stands for a literal; undefined when the literal stays as it is. */
  #lifted(value: ValueNode, { type }: GraphQLArgument): VariableNode | undefined {
    if (value.kind === Kind.VARIABLE || value.kind === Kind.NULL) return undefined;
    const json = literalValue(value, type);
    if (json === undefined) return undefined;
    // By how it is written: fields whose arguments validation tells apart (`1` and `"1"` for an ID) stay apart.
    const key = `${type} ${print(inOrder(value))}`;
    const known = this.#literalVariables.get(key);
    if (known) return known;
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
      arguments: ordered(given).map((argument) => ({
        kind: Kind.ARGUMENT,
        name: nameOf(argument.name),
        value: this.#value(argument.value),
      })),
    }));
  }

  /** A value with normalized variables; equal ones are written alike. */
  #value(value: ValueNode): ValueNode {
    if (value.kind === Kind.VARIABLE) return this.#variable(value);
    if (value.kind !== Kind.LIST && value.kind !== Kind.OBJECT) return copied(value);
    const key = print(inOrder(value));
    const known = this.#written.get(key);
    if (known) return known;
    const written = this.#compound(value);
    this.#written.set(key, written);
    return written;
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

/** A value that holds no others, without its location. */
function copied<Value extends ValueNode>({ loc: _, ...value }: Value): Value {
  return value as Value;
}

function fieldOf(parent: GraphQLNamedType | undefined, name: string): GraphQLField<unknown, unknown> | undefined {
  return isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[name] : undefined;
}

function ordered(given: readonly ArgumentNode[]): readonly ArgumentNode[] {
  return given.length < 2 ? given : [...given].sort((a, b) => compare(a.name.value, b.name.value));
}

/** A value with the fields of its objects in the order of their names, as validation compares values. */
function inOrder(value: ValueNode): ValueNode {
  if (value.kind === Kind.LIST) return { ...value, values: value.values.map(inOrder) };
  if (value.kind !== Kind.OBJECT) return value;
  const fields = value.fields.map((field) => ({ ...field, value: inOrder(field.value) }));
  return { ...value, fields: fields.sort((a, b) => compare(a.name.value, b.name.value)) };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

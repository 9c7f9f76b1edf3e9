import { createHash } from 'node:crypto';
import {
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  type GraphQLField,
  type GraphQLNamedType,
  type GraphQLSchema,
  getNamedType,
  isInterfaceType,
  isObjectType,
  Kind,
  type OperationDefinitionNode,
  type SelectionNode,
  type SelectionSetNode,
  type VariableDefinitionNode,
} from 'graphql';
import { ArgumentNormalizer, nameOf } from './normalize-arguments.js';

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
  return new Normalizer(schema, document, selected.variableDefinitions ?? []).normalize(selected);
}

class Normalizer {
  readonly #schema: GraphQLSchema;
  readonly #fragments = new Map<string, FragmentDefinitionNode>();
  readonly #arguments: ArgumentNormalizer;
  /** In the order of their first use; null while a fragment is being normalized. */
  readonly #used = new Map<string, FragmentDefinitionNode | null>();
  /** Whether the document has no further operations, and no fragment that is defined twice: validation must see those. */
  readonly #hasOneOperation: boolean;

  constructor(schema: GraphQLSchema, { definitions }: DocumentNode, variables: readonly VariableDefinitionNode[]) {
    this.#schema = schema;
    this.#arguments = new ArgumentNormalizer(variables);
    let others = 0;
    for (const definition of definitions) {
      if (definition.kind === Kind.FRAGMENT_DEFINITION) this.#fragments.set(definition.name.value, definition);
      else others += 1;
    }
    this.#hasOneOperation = others === 1 && this.#fragments.size === definitions.length - 1;
  }

  normalize(selected: OperationDefinitionNode): NormalizedOperation {
    const root = this.#schema.getRootType(selected.operation);
    const directives = this.#arguments.directives(selected.directives);
    const selectionSet = this.#selectionSet(selected.selectionSet, root ?? undefined);
    const operation: OperationDefinitionNode = {
      kind: Kind.OPERATION_DEFINITION,
      operation: selected.operation,
      variableDefinitions: this.#arguments.definitions,
      directives,
      selectionSet,
    };
    const used = [...this.#used.values()] as FragmentDefinitionNode[];
    const isWhole =
      this.#hasOneOperation && used.length === this.#fragments.size && !this.#arguments.hasInvalidVariables;
    const document: DocumentNode = { kind: Kind.DOCUMENT, definitions: [operation, ...used] };
    const text = JSON.stringify(document);
    return {
      hash: createHash('sha256').update(text).digest('base64url'),
      document,
      size: text.length,
      variableNames: this.#arguments.variableNames,
      literals: this.#arguments.literals,
      isWhole,
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
          directives: this.#arguments.directives(directives),
          selectionSet: this.#selectionSet(selectionSet, type),
        };
      }
      default:
        this.#use(selection.name.value);
        return {
          kind: Kind.FRAGMENT_SPREAD,
          name: nameOf(selection.name),
          directives: this.#arguments.directives(selection.directives),
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
      directives: this.#arguments.directives(directives),
      selectionSet: this.#selectionSet(selectionSet, this.#schema.getType(typeCondition.name.value)),
    });
  }

  #field(field: FieldNode, parent: GraphQLNamedType | undefined): FieldNode {
    const { alias, name, arguments: list = [], directives, selectionSet } = field;
    const definition = fieldOf(parent, name.value);
    return {
      kind: Kind.FIELD,
      // An alias that is the field's name says nothing, and the native planner fails where a field has one and not.
      ...(alias && alias.value !== name.value && { alias: nameOf(alias) }),
      name: nameOf(name),
      arguments: this.#arguments.ofField(list, definition),
      directives: this.#arguments.directives(directives),
      ...(selectionSet && {
        selectionSet: this.#selectionSet(selectionSet, definition && getNamedType(definition.type)),
      }),
    };
  }
}

function fieldOf(parent: GraphQLNamedType | undefined, name: string): GraphQLField<unknown, unknown> | undefined {
  return isObjectType(parent) || isInterfaceType(parent) ? parent.getFields()[name] : undefined;
}

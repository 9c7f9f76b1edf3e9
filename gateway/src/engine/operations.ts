import type { Supergraph } from '@apollo/federation-internals';
import { selectOperation } from '@tributary/shared/http/operations';
import {
  DirectiveLocation,
  type DocumentNode,
  type FieldNode,
  type FragmentDefinitionNode,
  GraphQLBoolean,
  GraphQLDirective,
  GraphQLError,
  GraphQLNonNull,
  GraphQLSchema,
  GraphQLString,
  Kind,
  type OperationDefinitionNode,
  parse,
  validate,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import { parseStaleness } from '../freshness/requirements.js';
import { conditionVariables } from './conditions.js';
import type { Variant } from './engine.js';
import { checkLimits, type OperationLimits } from './limits.js';
import { type Lifted, liftLiterals } from './literals.js';
import { nameFields } from './response-names.js';

/** How much is kept of operations, in characters; what is made of one is larger by far, and grows with its fields. */
const MAX_WEIGHT = 20_000_000;
const WEIGHT_OF_FIELD = 50;
/** An operation is planned for each set of values that its @skip and @include have; so many of them are kept. */
const MAX_VARIANTS = 32;

/** An operation as a client wrote it, checked, and under names that do not collide. */
export interface Operation {
  /** Different for each. */
  readonly number: number;
  /** How much more is kept of it than its text. */
  readonly weight: number;
  readonly document: DocumentNode;
  readonly definition: OperationDefinitionNode;
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  /** What the client calls the fields that are asked for under other names. */
  readonly responseNames: ReadonlyMap<string, string | null>;
  /** Variables that decide what is in the answer. */
  readonly conditions: readonly string[];
  /** What the operation itself says of how stale it may be, in milliseconds: `@maxStaleness(of: "500ms")`; infinite when it says nothing. */
  readonly maxStalenessMs: number;
  /** The part of the operation that asks about the schema itself, as the client wrote it. */
  readonly introspection: DocumentNode | null;
  /** Planned and compiled, by the values of the conditions. */
  readonly variants: LRUCache<string, Variant>;
}

/** An operation, with the values of the literals that became variables in it; or why it cannot be run. */
export type CheckedOperation =
  | { readonly operation: Operation; readonly literals?: Readonly<Record<string, unknown>> }
  | { readonly errors: readonly GraphQLError[] };

/** Parses and checks operations, and remembers those that came last. */
export class Operations {
  readonly #schema: GraphQLSchema;
  readonly #limits: OperationLimits;
  readonly #fieldNames: ReadonlySet<string>;
  readonly #argumentsRequired: boolean;
  readonly #checked: LRUCache<string, CheckedOperation>;
  /** Texts that differ from another one in their literals only. */
  readonly #lifted: LRUCache<string, CheckedOperation>;
  #last = 0;

  constructor(schema: GraphQLSchema, supergraph: Supergraph, limits: OperationLimits, max: number) {
    this.#schema = schema;
    this.#limits = limits;
    this.#fieldNames = fieldNames(supergraph);
    this.#argumentsRequired = requiresArguments(supergraph);
    this.#checked = new LRUCache({
      max,
      maxSize: MAX_WEIGHT,
      sizeCalculation: (checked, key) => key.length + 100 + ('operation' in checked ? checked.operation.weight : 0),
    });
    this.#lifted = new LRUCache({ max });
  }

  /** The operation, when it is known, or one that differs in its literals only. */
  known(query: string, operationName: string | undefined): CheckedOperation | undefined {
    const key = keyOf(query, operationName);
    const checked = this.#checked.get(key) ?? this.#lifted.get(key);
    if (checked) return checked;
    const lifted = this.#lift(query);
    const known = lifted && this.#checked.get(keyOf(lifted.text, operationName));
    return lifted && known ? this.#noteLifted(key, known, lifted) : undefined;
  }

  check(query: string, operationName: string | undefined): CheckedOperation {
    const key = keyOf(query, operationName);
    const lifted = this.#lift(query);
    if (lifted) {
      const general = keyOf(lifted.text, operationName);
      const checked = this.#checked.get(general) ?? this.#check(lifted.text, operationName);
      if ('operation' in checked) {
        this.#checked.set(general, checked);
        return this.#noteLifted(key, checked, lifted) as CheckedOperation;
      }
      // What is wrong with it is told of what the client wrote.
    }
    const checked = this.#check(query, operationName);
    this.#checked.set(key, checked);
    return checked;
  }

  /** Where what subgraphs require has arguments, a literal may be the same as one of them. */
  #lift(query: string): Lifted | null {
    return this.#argumentsRequired ? null : liftLiterals(this.#schema, query, this.#limits.tokens);
  }

  #noteLifted(key: string, general: CheckedOperation, { literals }: Lifted): CheckedOperation | undefined {
    if (!('operation' in general)) return undefined;
    const checked = { operation: general.operation, literals };
    this.#lifted.set(key, checked);
    return checked;
  }

  #check(query: string, operationName: string | undefined): CheckedOperation {
    try {
      const document = parse(query, { maxTokens: this.#limits.tokens });
      // An answer with a field of this name would not be an object like others.
      if (query.includes('__proto__')) throw new GraphQLError('"__proto__" cannot be the name of a field or an alias.');
      const fields = checkLimits(document, this.#limits);
      const errors = validate(this.#schema, document);
      if (errors.length > 0) return { errors };
      return { operation: this.#name(document, selectOperation(document, operationName), fields * WEIGHT_OF_FIELD) };
    } catch (error) {
      if (error instanceof GraphQLError) return { errors: [error] };
      if (error instanceof RangeError) return { errors: [new GraphQLError('The document is nested too deeply.')] };
      throw error;
    }
  }

  #name(written: DocumentNode, selected: OperationDefinitionNode, weight: number): Operation {
    const { document, responseNames } = nameFields(
      onlyWhatIsUsed(written, selected),
      this.#fieldNames,
      this.#argumentsRequired,
    );
    const fragments = fragmentsOf(document);
    return {
      number: ++this.#last,
      weight,
      document,
      definition: document.definitions[0] as OperationDefinitionNode,
      fragments,
      responseNames,
      conditions: conditionVariables(document),
      maxStalenessMs: stalenessOf(selected),
      introspection: introspectionOf(written, selected),
      variants: new LRUCache({ max: MAX_VARIANTS }),
    };
  }
}

/**
 * The directives that clients may use besides those of the graph: what they can wait for (it is given to them with the rest), and
 * how stale an answer may be.
 */
export function withDirectives(schema: GraphQLSchema): GraphQLSchema {
  const defer = new GraphQLDirective({
    name: 'defer',
    description: 'Says what could come later; it is given with the rest.',
    locations: [DirectiveLocation.FRAGMENT_SPREAD, DirectiveLocation.INLINE_FRAGMENT],
    args: { if: { type: new GraphQLNonNull(GraphQLBoolean), defaultValue: true }, label: { type: GraphQLString } },
  });
  const maxStaleness = new GraphQLDirective({
    name: 'maxStaleness',
    description: 'The most that the answer may be behind, such as "500ms"; "0" asks owners only.',
    locations: [DirectiveLocation.QUERY],
    args: { of: { type: new GraphQLNonNull(GraphQLString) } },
  });
  const added = [defer, maxStaleness].filter(({ name }) => !schema.getDirective(name));
  return new GraphQLSchema({ ...schema.toConfig(), directives: [...schema.getDirectives(), ...added] });
}

/** @throws GraphQLError when it is said, and no time */
function stalenessOf({ directives = [] }: OperationDefinitionNode): number {
  const value = directives.find(({ name }) => name.value === 'maxStaleness')?.arguments?.[0]?.value;
  if (!value) return Number.POSITIVE_INFINITY;
  if (value.kind !== Kind.STRING)
    throw new GraphQLError('The time of @maxStaleness must be written out, as in "500ms".');
  return parseStaleness(value.value);
}

function keyOf(query: string, operationName: string | undefined): string {
  return operationName === undefined ? query : `${operationName}\n${query}`;
}

function onlyWhatIsUsed(document: DocumentNode, selected: OperationDefinitionNode): DocumentNode {
  const fragments = document.definitions.filter(({ kind }) => kind === Kind.FRAGMENT_DEFINITION);
  return { ...document, definitions: [selected, ...fragments] };
}

function fragmentsOf(document: DocumentNode): Record<string, FragmentDefinitionNode> {
  return Object.fromEntries(
    document.definitions.flatMap((definition) =>
      definition.kind === Kind.FRAGMENT_DEFINITION ? [[definition.name.value, definition]] : [],
    ),
  );
}

function fieldNames(supergraph: Supergraph): Set<string> {
  const names = new Set<string>();
  for (const type of supergraph.schema.types()) {
    if (type.kind === 'ObjectType' || type.kind === 'InterfaceType') {
      for (const field of type.fields()) names.add(field.name);
    }
  }
  return names;
}

/** Whether what a subgraph requires (or takes from a context) has arguments. */
function requiresArguments({ schema }: Supergraph): boolean {
  const applications = [...(schema.directive('join__field')?.applications() ?? [])];
  return applications.some((application) => {
    const { requires, contextArguments } = application.arguments() as Record<string, unknown>;
    return /\(/.test(`${requires ?? ''} ${contextArguments ? JSON.stringify(contextArguments) : ''}`);
  });
}

/** The part of an operation that asks about the schema itself, if any. */
function introspectionOf(document: DocumentNode, operation: OperationDefinitionNode): DocumentNode | null {
  const fragments = fragmentsOf(document);
  const found: FieldNode[] = [];
  const look = ({ selections }: OperationDefinitionNode['selectionSet']) => {
    for (const selection of selections) {
      if (selection.kind === Kind.FIELD) {
        if (selection.name.value === '__schema' || selection.name.value === '__type') found.push(selection);
      } else {
        const fragment = selection.kind === Kind.FRAGMENT_SPREAD ? fragments[selection.name.value] : selection;
        if (fragment) look(fragment.selectionSet);
      }
    }
  };
  look(operation.selectionSet);
  if (found.length === 0) return null;
  const asked = { ...operation, selectionSet: { kind: Kind.SELECTION_SET as const, selections: found } };
  return { ...document, definitions: [asked, ...Object.values(fragments)] };
}

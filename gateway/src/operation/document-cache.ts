import { ApiError, type ErrorCode, errorAt, parseDocument, selectOperation, withCode } from '@tributary/server';
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
  type Location,
  type OperationDefinitionNode,
  type OperationTypeNode,
  print,
  type ValidationRule,
  type VariableDefinitionNode,
  validate,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import { parseStaleness } from '../consistency/index.js';
import type { SupergraphSchema } from '../lib/supergraph-schema.js';
import { documentRules } from './document-rules.js';
import { checkLimits, type OperationLimits } from './limits.js';
import { type NormalizedOperation, normalizeOperation } from './normalize-operation.js';
import { nameFields } from './rename-conflicts.js';
import { type RequiredFields, requiredFields } from './required-fields.js';
import { conditionVariables } from './skip-include.js';
import { documentWeight, operationWeight, weightOf } from './weights.js';

/** The memory that operations and their plans may take, in bytes (estimated; see `weights.ts`). */
const MAX_WEIGHT = 200_000_000;
/** Of which documents (what clients write; several may be one operation) take at most this. */
const DOCUMENTS_SHARE = 0.2;
const DOCUMENTS_PER_OPERATION = 5;
/** An operation is planned for each set of values that its @skip and @include have; so many of them are kept. */
const MAX_PREPARED = 32;
/** What is kept of documents that are refused, so that a client that repeats one costs little. */
const MAX_FAILURES = 500;
const MAX_FAILURES_LENGTH = 2_000_000;
/** Documents that are parsed and wait for their validation. */
const MAX_DRAFTS = 64;
/** How much of a value an error message shows, in characters. */
const MAX_SHOWN = 60;
/** Longer texts are hardly written by hand; parsing them is work for the planning queue. */
const MAX_UNQUEUED_LENGTH = 4000;

/** What is planned and compiled of an operation for one set of conditions, as the cache of operations sees it. */
export interface Prepared {
  /** The memory that its plans take, in bytes. */
  readonly planWeight: number;
}

/** A normalized operation: what clients write in different ways is one, planned once. */
export interface Operation {
  /** Identifies the operation: a hash of all that it consists of. */
  readonly hash: string;
  /** The memory that it takes without what is prepared of it, in bytes. */
  readonly weight: number;
  /** Its fields, each fragment counted wherever it is spread. */
  readonly fields: number;
  /** With normalized variables, without a name, and under response names that do not collide. */
  readonly document: DocumentNode;
  readonly definition: OperationDefinitionNode;
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  /** What the client calls the fields that are asked for under other names. */
  readonly responseNames: ReadonlyMap<string, string | null>;
  /** Variables that decide what is in the answer. */
  readonly conditions: readonly string[];
  /** The staleness bound that the operation itself sets, in milliseconds: `@maxStaleness(of: "500ms")`; infinite without it. */
  readonly maxStalenessMs: number;
  /** The part of the operation that asks about the schema itself. */
  readonly introspection: DocumentNode | null;
  /** Planned and compiled, by the values of the conditions. */
  readonly prepared: LRUCache<string, Prepared>;
}

/** What a client wrote: how it relates to the normalized operation. Holds no operation, so that one that is evicted is freed. */
export interface ClientDocument {
  /** The hash of the normalized operation. */
  readonly hash: string;
  readonly type: OperationTypeNode;
  /** The name that the client gave the operation; null when it has none. */
  readonly operationName: string | null;
  /** The variables as the client declares them. */
  readonly variableDefinitions: readonly VariableDefinitionNode[];
  /** The normalized name of each of them. */
  readonly variableNames: ReadonlyMap<string, string>;
  /** The values of the literals that became variables, by normalized name. */
  readonly literals: Readonly<Record<string, unknown>>;
  readonly weight: number;
}

/** An operation and the client's document of it; or why the document cannot be run. */
export type CheckedOperation =
  | { readonly operation: Operation; readonly document: ClientDocument }
  | { readonly errors: readonly GraphQLError[] };

/** A document that is parsed and normalized, but not validated. */
interface Draft {
  readonly parsed: DocumentNode;
  readonly selected: OperationDefinitionNode;
  readonly normalized: NormalizedOperation;
  readonly fields: number;
}

/** Parses, normalizes and validates operations, and keeps the most recent ones within a bound of memory. */
export class Operations {
  readonly #schema: GraphQLSchema;
  readonly #rules: readonly ValidationRule[];
  readonly #limits: OperationLimits;
  readonly #fieldNames: ReadonlySet<string>;
  readonly #required: RequiredFields;
  readonly #documents: LRUCache<string, ClientDocument>;
  readonly #operations: LRUCache<string, Operation>;
  readonly #failures = new LRUCache<string, { readonly errors: readonly GraphQLError[] }>({
    max: MAX_FAILURES,
    maxSize: MAX_FAILURES_LENGTH,
  });
  readonly #drafts = new LRUCache<string, Draft>({ max: MAX_DRAFTS });

  /**
   * @param max the number of operations that are kept
   * @param maxWeight the memory that they take, with their documents and plans, in bytes
   * @param introspection whether operations may select `__schema` and `__type`
   */
  constructor(
    schema: GraphQLSchema,
    supergraph: SupergraphSchema,
    limits: OperationLimits,
    max: number,
    maxWeight = MAX_WEIGHT,
    introspection = true,
  ) {
    this.#schema = schema;
    this.#rules = documentRules(introspection);
    this.#limits = limits;
    this.#fieldNames = fieldNames(supergraph);
    this.#required = requiredFields(supergraph);
    this.#documents = new LRUCache({
      max: max * DOCUMENTS_PER_OPERATION,
      maxSize: Math.ceil(maxWeight * DOCUMENTS_SHARE),
      sizeCalculation: ({ weight }) => weight,
    });
    this.#operations = new LRUCache({
      max,
      maxSize: Math.ceil(maxWeight * (1 - DOCUMENTS_SHARE)),
      sizeCalculation: weightOf,
    });
  }

  /** The memory that is held of documents, operations and plans, in bytes; never above the bound. */
  get weight(): number {
    return this.#documents.calculatedSize + this.#operations.calculatedSize;
  }

  /** The operations that are held. */
  get size(): number {
    return this.#operations.size;
  }

  /** Gets the operation of a document from the cache, also when only its literals, its variables' names or its own name differ. */
  known(query: string, operationName: string | undefined): CheckedOperation | undefined {
    const key = documentKey(query, operationName);
    const document = this.#documents.get(key);
    const operation = document && this.#operations.get(document.hash);
    if (operation) return { operation, document };
    const failure = this.#failures.get(key);
    if (failure || query.length > MAX_UNQUEUED_LENGTH) return failure;
    return this.#refusing(key, () => {
      const draft = this.#draft(key, query, operationName);
      const known = draft.normalized.isWhole ? this.#operations.get(draft.normalized.hash) : undefined;
      return known && { operation: known, document: this.#keep(key, draft) };
    });
  }

  /** What a document's operation is, when it is cached: its type, and the staleness bound that it sets, in milliseconds. */
  find(
    query: string,
    operationName: string | undefined,
  ): (Pick<Operation, 'maxStalenessMs'> & Pick<ClientDocument, 'type'>) | undefined {
    const document = this.#documents.get(documentKey(query, operationName));
    const operation = document && this.#operations.peek(document.hash);
    return operation && { type: document.type, maxStalenessMs: operation.maxStalenessMs };
  }

  /** Parses and validates a document. */
  check(query: string, operationName: string | undefined): CheckedOperation {
    const key = documentKey(query, operationName);
    return this.#refusing(key, () => {
      const draft = this.#draft(key, query, operationName);
      const { parsed, normalized } = draft;
      const known = this.#operations.get(normalized.hash);
      if (!known || !normalized.isWhole) {
        const errors = validate(this.#schema, parsed, this.#rules);
        if (errors.length > 0)
          return this.#refuse(
            key,
            errors.map((error) => withCode(error, 'GRAPHQL_VALIDATION_FAILED')),
          );
      }
      const operation = known ?? this.#operation(draft);
      this.#operations.set(operation.hash, operation);
      return { operation, document: this.#keep(key, draft) };
    });
  }

  /** Stores what is prepared with its operation. */
  addPrepared(operation: Operation, key: string, prepared: Prepared): void {
    operation.prepared.set(key, prepared);
    this.weigh(operation);
  }

  /** Takes into account what an operation weighs now. */
  weigh(operation: Operation): void {
    // Evicted meanwhile, it is freed with the requests that still run it.
    if (this.#operations.peek(operation.hash) !== operation) return;
    this.#operations.delete(operation.hash);
    this.#operations.set(operation.hash, operation);
  }

  #keep(key: string, draft: Draft): ClientDocument {
    this.#drafts.delete(key);
    const { selected, normalized } = draft;
    const { hash, variableNames, literals } = normalized;
    const document: ClientDocument = {
      hash,
      type: selected.operation,
      operationName: selected.name?.value ?? null,
      variableDefinitions: declarationsOf(draft),
      variableNames,
      literals,
      weight: documentWeight(key, selected, literals),
    };
    this.#documents.set(key, document);
    return document;
  }

  #refusing<Result>(key: string, work: () => Result): Result | { readonly errors: readonly GraphQLError[] } {
    try {
      return work();
    } catch (error) {
      if (error instanceof GraphQLError) return this.#refuse(key, [error]);
      if (error instanceof RangeError) {
        return this.#refuse(key, [
          new ApiError('COST_LIMIT', 'The document is nested too deeply.', { reason: 'DEPTH' }),
        ]);
      }
      throw error;
    }
  }

  #refuse(key: string, errors: readonly GraphQLError[]) {
    this.#drafts.delete(key);
    const failure = { errors: errors.map(withoutNodes) };
    this.#failures.set(key, failure, {
      size: failure.errors.reduce((sum, { message }) => sum + message.length, key.length),
    });
    return failure;
  }

  /** @throws GraphQLError, or RangeError when the document is nested too deeply */
  #draft(key: string, query: string, operationName: string | undefined): Draft {
    const known = this.#drafts.get(key);
    if (known) return known;
    const parsed = parseDocument(query, this.#limits.tokens);
    const fields = checkLimits(parsed, this.#limits);
    const selected = coded('OPERATION_RESOLUTION_FAILURE', () => selectOperation(parsed, operationName));
    const normalized = normalizeOperation(this.#schema, parsed, selected);
    const draft = { parsed, selected, normalized, fields };
    this.#drafts.set(key, draft);
    return draft;
  }

  #operation({ selected, normalized, fields }: Draft): Operation {
    const { document, responseNames } = nameFields(normalized.document, this.#fieldNames, this.#required);
    const definition = document.definitions[0] as OperationDefinitionNode;
    return {
      hash: normalized.hash,
      weight: operationWeight(normalized.size),
      fields,
      document,
      definition,
      fragments: fragmentsOf(document),
      responseNames,
      conditions: conditionVariables(document),
      maxStalenessMs: stalenessOf(selected),
      introspection: introspectionOf(normalized.document),
      prepared: new LRUCache({ max: MAX_PREPARED }),
    };
  }
}

/**
 * Adds the directives that clients may use besides those of the graph: `@defer` (the deferred data comes with the rest of the
 * response) and `@maxStaleness`.
 */
export function withDirectives(schema: GraphQLSchema): GraphQLSchema {
  const defer = new GraphQLDirective({
    name: 'defer',
    description:
      'Accepted on fragments that may be delivered later; the gateway delivers them with the rest of the response.',
    locations: [DirectiveLocation.FRAGMENT_SPREAD, DirectiveLocation.INLINE_FRAGMENT],
    args: { if: { type: new GraphQLNonNull(GraphQLBoolean), defaultValue: true }, label: { type: GraphQLString } },
  });
  const maxStaleness = new GraphQLDirective({
    name: 'maxStaleness',
    description:
      'The maximum staleness of the response, such as "500ms"; "0" bypasses the cache and reads from the owning services only.',
    locations: [DirectiveLocation.QUERY],
    args: { of: { type: new GraphQLNonNull(GraphQLString) } },
  });
  const added = [defer, maxStaleness].filter(({ name }) => !schema.getDirective(name));
  return new GraphQLSchema({ ...schema.toConfig(), directives: [...schema.getDirectives(), ...added] });
}

/** @throws GraphQLError BAD_USER_INPUT when `@maxStaleness` is there without a duration */
function stalenessOf({ directives = [] }: OperationDefinitionNode): number {
  const value = directives.find(({ name }) => name.value === 'maxStaleness')?.arguments?.[0]?.value;
  if (!value) return Number.POSITIVE_INFINITY;
  try {
    if (value.kind === Kind.STRING) return parseStaleness(value.value);
  } catch {
    // The message of the header of the same meaning would not say where.
  }
  const message = `@maxStaleness(of:) must be a literal duration such as "500ms", "2s" or "0"; got ${print(value).slice(0, MAX_SHOWN)}.`;
  const extensions = { code: 'BAD_USER_INPUT', field: '@maxStaleness.of' } as const;
  throw new GraphQLError(message, { nodes: value, extensions });
}

/** Runs a step whose errors have a code; those that have one already keep it. */
function coded<Result>(code: ErrorCode, step: () => Result): Result {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof GraphQLError) || error.extensions.code !== undefined) throw error;
    throw withCode(error, code);
  }
}

/** Different for each pair: the length says where the name ends. */
function documentKey(query: string, operationName: string | undefined): string {
  return operationName === undefined ? `:${query}` : `${operationName.length}:${operationName}${query}`;
}

/** An error that keeps its locations, but not the document. */
function withoutNodes({ message, locations, extensions }: GraphQLError): GraphQLError {
  return errorAt(message, locations, { extensions });
}

/** The client's declarations of its variables, with no more of the document than the text for their locations. */
function declarationsOf({ selected, normalized }: Draft): VariableDefinitionNode[] {
  const { variableDefinitions = [] } = normalized.document.definitions[0] as OperationDefinitionNode;
  return (selected.variableDefinitions ?? []).map(({ variable, loc }, i) => {
    const name = { kind: Kind.NAME as const, value: variable.name.value };
    return {
      ...(variableDefinitions[i] as VariableDefinitionNode),
      variable: { kind: Kind.VARIABLE, name },
      ...(loc && { loc: { start: loc.start, end: loc.end, source: loc.source } as Location }),
    };
  });
}

function fragmentsOf(document: DocumentNode): Record<string, FragmentDefinitionNode> {
  return Object.fromEntries(
    document.definitions.flatMap((definition) =>
      definition.kind === Kind.FRAGMENT_DEFINITION ? [[definition.name.value, definition]] : [],
    ),
  );
}

function fieldNames(supergraph: SupergraphSchema): Set<string> {
  return new Set([...supergraph.compositeTypes()].flatMap((type) => Object.keys(type.getFields())));
}

/** The part of an operation that asks about the schema itself, if any. */
function introspectionOf(document: DocumentNode): DocumentNode | null {
  const fragments = fragmentsOf(document);
  const operation = document.definitions[0] as OperationDefinitionNode;
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

import { errorAt } from '@tributary/server';
import type { GraphQLError, GraphQLSchema } from 'graphql';
import { LRUCache } from 'lru-cache';
import type { SupergraphSchema } from '../lib/supergraph-schema.js';
import { TurnBudget } from '../lib/turn-budget.js';
import { createClientDocument, OperationFactory } from './create-operation.js';
import type { ClientDocument, Operation, Prepared, ValidationResult } from './operation.js';
import { DocumentParser, type DocumentParserOptions, type ParsedOperation, refusalOf } from './parse-and-validate.js';
import { weightOf } from './weights.js';

/** The memory that documents, operations and plans may take, in bytes (estimated; see `weights.ts`). */
const MAX_WEIGHT = 200_000_000;
/** The share of it that clients' documents may take; several may be one operation. */
const DOCUMENTS_SHARE = 0.2;
const MAX_OPERATIONS = 1000;
const DOCUMENTS_PER_OPERATION = 5;
/** Invalid documents whose errors are cached, so that a client that repeats one costs little. */
const MAX_INVALID = 500;
/** The length of their texts and messages together, in characters. */
const MAX_INVALID_LENGTH = 2_000_000;
/** Documents that are parsed and wait for their validation. */
const MAX_PARSED = 64;
/** Longer documents, in characters, are parsed in a queue only. Hand-written ones are shorter. */
const MAX_UNQUEUED_LENGTH = 4000;
/** The documents that are parsed in one turn of the event loop, in characters together: many new ones at once delay no others. */
const MAX_LENGTH_PER_TURN = 4000;

export interface DocumentCacheOptions extends DocumentParserOptions {
  /** The most operations that are cached. */
  readonly maxOperations?: number | undefined;
  /** The memory that they may take, with their documents and plans, in bytes. */
  readonly maxWeight?: number | undefined;
}

/** Caches operations, clients' documents of them, and the errors of invalid documents; bounded by number and memory. */
export class DocumentCache {
  readonly #parser: DocumentParser;
  readonly #factory: OperationFactory;
  readonly #documents: LRUCache<string, ClientDocument>;
  readonly #operations: LRUCache<string, Operation>;
  readonly #invalid = new LRUCache<string, { readonly errors: readonly GraphQLError[] }>({
    max: MAX_INVALID,
    maxSize: MAX_INVALID_LENGTH,
  });
  readonly #parsed = new LRUCache<string, ParsedOperation>({ max: MAX_PARSED });
  readonly #turn = new TurnBudget(MAX_LENGTH_PER_TURN);

  constructor(schema: GraphQLSchema, supergraph: SupergraphSchema, options: DocumentCacheOptions) {
    const { maxOperations: max = MAX_OPERATIONS, maxWeight = MAX_WEIGHT } = options;
    this.#parser = new DocumentParser(schema, options);
    this.#factory = new OperationFactory(supergraph);
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

  /** The estimated memory of the cached documents, operations and plans, in bytes; never above the bound. */
  get weight(): number {
    return this.#documents.calculatedSize + this.#operations.calculatedSize;
  }

  /** The number of cached operations. */
  get size(): number {
    return this.#operations.size;
  }

  /**
   * Gets the operation of a document from the cache. A short document that is not cached is parsed, and its operation found when another
   * document differs from it only in literals, variables' names or the operation's name.
   */
  get(query: string, operationName: string | undefined): ValidationResult | undefined {
    const key = documentKey(query, operationName);
    const document = this.#documents.get(key);
    const operation = document && this.#operations.get(document.hash);
    if (operation) return { operation, document };
    const invalid = this.#invalid.get(key);
    if (invalid || query.length > MAX_UNQUEUED_LENGTH || !this.#turn.take(query.length)) return invalid;
    return this.#parseAndFind(key, query, operationName);
  }

  /** As `get`, for a document that `get` did not find; a short one waits until it can be parsed. */
  async getLater(query: string, operationName: string | undefined): Promise<ValidationResult | undefined> {
    const key = documentKey(query, operationName);
    if (query.length > MAX_UNQUEUED_LENGTH || this.#parsed.has(key)) return undefined;
    await this.#turn.wait(query.length);
    return this.#parseAndFind(key, query, operationName);
  }

  #parseAndFind(key: string, query: string, operationName: string | undefined): ValidationResult | undefined {
    return this.#cachingErrors(key, () => {
      const parsed = this.#parse(key, query, operationName);
      const shared = parsed.normalized.isWhole ? this.#operations.get(parsed.normalized.hash) : undefined;
      if (!shared) return undefined;
      shared.source = { query, operationName };
      return { operation: shared, document: this.#addDocument(key, parsed) };
    });
  }

  /** Returns the type and the staleness bound, in milliseconds, of a document's operation; undefined when it is not cached. */
  find(
    query: string,
    operationName: string | undefined,
  ): (Pick<Operation, 'maxStalenessMs'> & Pick<ClientDocument, 'type'>) | undefined {
    const document = this.#documents.get(documentKey(query, operationName));
    const operation = document && this.#operations.peek(document.hash);
    return operation && { type: document.type, maxStalenessMs: operation.maxStalenessMs };
  }

  /**
   * Parses and validates a document, and caches the result.
   *
   * @throws unexpected errors, which are not cached
   */
  parseAndValidate(query: string, operationName: string | undefined): ValidationResult {
    const key = documentKey(query, operationName);
    return this.#cachingErrors(key, () => {
      const parsed = this.#parse(key, query, operationName);
      const { hash, isWhole } = parsed.normalized;
      const cached = this.#operations.get(hash);
      if (!cached || !isWhole) {
        const errors = this.#parser.validate(parsed);
        if (errors.length > 0) return this.#addInvalid(key, errors);
      }
      const source = { query, operationName };
      const operation = cached ?? this.#factory.create(parsed, source);
      operation.source = source;
      this.#operations.set(operation.hash, operation);
      return { operation, document: this.#addDocument(key, parsed) };
    });
  }

  /** The cached operations, those that were used last first. */
  values(): Iterable<Operation> {
    return this.#operations.values();
  }

  /** Stores a prepared operation with its operation. */
  addPrepared(operation: Operation, key: string, prepared: Prepared): void {
    operation.prepared.set(key, prepared);
    this.weigh(operation);
  }

  /** Updates the weight of an operation, after its plans have changed. */
  weigh(operation: Operation): void {
    // Evicted meanwhile, it is freed with the requests that still run it.
    if (this.#operations.peek(operation.hash) !== operation) return;
    this.#operations.delete(operation.hash);
    this.#operations.set(operation.hash, operation);
  }

  #parse(key: string, query: string, operationName: string | undefined): ParsedOperation {
    const cached = this.#parsed.get(key);
    if (cached) return cached;
    const parsed = this.#parser.parse(query, operationName);
    this.#parsed.set(key, parsed);
    return parsed;
  }

  #addDocument(key: string, parsed: ParsedOperation): ClientDocument {
    this.#parsed.delete(key);
    const document = createClientDocument(key, parsed);
    this.#documents.set(key, document);
    return document;
  }

  #cachingErrors<Result>(key: string, step: () => Result): Result | { readonly errors: readonly GraphQLError[] } {
    try {
      return step();
    } catch (error) {
      return this.#addInvalid(key, [refusalOf(error)]);
    }
  }

  #addInvalid(key: string, errors: readonly GraphQLError[]): { readonly errors: readonly GraphQLError[] } {
    this.#parsed.delete(key);
    const invalid = { errors: errors.map(withoutNodes) };
    this.#invalid.set(key, invalid, {
      size: invalid.errors.reduce((sum, { message }) => sum + message.length, key.length),
    });
    return invalid;
  }
}

/** Different for each pair of query and name: the length says where the name ends. */
function documentKey(query: string, operationName: string | undefined): string {
  return operationName === undefined ? `:${query}` : `${operationName.length}:${operationName}${query}`;
}

/** An error that keeps its locations, but does not reference the document. */
function withoutNodes({ message, locations, extensions }: GraphQLError): GraphQLError {
  return errorAt(message, locations, { extensions });
}

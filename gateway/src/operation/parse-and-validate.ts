import { ApiError, type ErrorCode, parseDocument, selectOperation, withCode } from '@tributary/server';
import {
  type DocumentNode,
  GraphQLError,
  type GraphQLSchema,
  type OperationDefinitionNode,
  type ValidationRule,
  validate,
} from 'graphql';
import { documentRules } from './document-rules.js';
import { type NormalizedOperation, normalizeOperation } from './normalize-operation.js';

export interface DocumentParserOptions {
  /** The most tokens, and the most lines, that a document may have. */
  readonly maxTokens: number;
  /** Whether operations may select `__schema` and `__type`. */
  readonly introspection?: boolean | undefined;
  /** Called with each new document after parsing. @throws GraphQLError to refuse it */
  readonly onParse?: ((document: DocumentNode, operationName: string | undefined) => void) | null;
  /** Returns errors of a new operation besides those of the validation rules. */
  readonly onValidate?: ((document: DocumentNode, operationName: string | undefined) => readonly GraphQLError[]) | null;
}

/** A document that is parsed and normalized, but not validated. */
export interface ParsedOperation {
  readonly document: DocumentNode;
  /** The operation name in the request; undefined without one. */
  readonly operationName: string | undefined;
  /** The operation that the request selects. */
  readonly selected: OperationDefinitionNode;
  readonly normalized: NormalizedOperation;
}

/** Parses, normalizes and validates documents by one schema. */
export class DocumentParser {
  readonly #schema: GraphQLSchema;
  readonly #options: DocumentParserOptions;
  readonly #rules: readonly ValidationRule[];

  constructor(schema: GraphQLSchema, options: DocumentParserOptions) {
    this.#schema = schema;
    this.#options = options;
    this.#rules = documentRules(options.introspection ?? true);
  }

  /**
   * Parses a document, selects its operation and normalizes it.
   *
   * @throws GraphQLError with a code when the document is refused, RangeError when it is nested deeper than the stack allows
   */
  parse(query: string, operationName: string | undefined): ParsedOperation {
    const document = parseDocument(query, this.#options.maxTokens);
    this.#options.onParse?.(document, operationName);
    const selected = withDefaultCode('OPERATION_RESOLUTION_FAILURE', () => selectOperation(document, operationName));
    const normalized = normalizeOperation(this.#schema, document, selected);
    return { document, operationName, selected, normalized };
  }

  /** Returns the validation errors of a document, with GRAPHQL_VALIDATION_FAILED; errors of `onValidate` keep a code of their own. */
  validate({ document, operationName, selected }: ParsedOperation): readonly GraphQLError[] {
    const { operation } = selected;
    const invalid = this.#schema.getRootType(operation)
      ? validate(this.#schema, document, this.#rules)
      : // Other operations of the document may have a type that the schema lacks.
        [new GraphQLError(`The schema has no ${operation} type.`, { nodes: selected })];
    if (invalid.length > 0) return invalid.map((error) => withCode(error, 'GRAPHQL_VALIDATION_FAILED'));
    const errors = this.#options.onValidate?.(document, operationName) ?? [];
    return errors.map((error) => (error.extensions.code ? error : withCode(error, 'GRAPHQL_VALIDATION_FAILED')));
  }
}

/**
 * Converts what parsing or validating a document threw to the error that refuses the document.
 *
 * @throws the error itself when it is unexpected, and so no property of the document
 */
export function refusalOf(error: unknown): GraphQLError {
  if (error instanceof GraphQLError) return error;
  if (error instanceof RangeError && error.message === STACK_OVERFLOW) {
    return new ApiError('COST_LIMIT', 'The document is nested too deeply.', { reason: 'DEPTH' });
  }
  throw error;
}

/** V8's message of a stack overflow. Other range errors (an invalid array length, say) are faults. */
const STACK_OVERFLOW = 'Maximum call stack size exceeded';

/** Runs a step, and adds a code to the GraphQL error that it throws; an error that has a code keeps it. */
function withDefaultCode<Result>(code: ErrorCode, step: () => Result): Result {
  try {
    return step();
  } catch (error) {
    if (!(error instanceof GraphQLError) || error.extensions.code !== undefined) throw error;
    throw withCode(error, code);
  }
}

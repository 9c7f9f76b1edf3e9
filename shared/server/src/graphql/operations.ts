import {
  type DocumentNode,
  execute,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  Kind,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
  validate,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import { ApiError, withCode } from '../errors/errors.js';
import { type GraphQLRequest, type GraphQLResult, RequestRefusedError } from './graphql-endpoint.js';
import { MAX_OPERATION_NAME } from './operation-name.js';

const CACHED_OPERATIONS = 1000;
const MAX_QUERY_TOKENS = 20_000;

interface CheckedOperation {
  readonly document: DocumentNode;
  readonly errors: readonly GraphQLError[];
}

/** Parses and validates operations, and remembers the last thousand of them: a gateway sends the same ones again. */
export class OperationCache {
  readonly #schema: GraphQLSchema;
  readonly #checked = new LRUCache<string, CheckedOperation>({ max: CACHED_OPERATIONS });

  constructor(schema: GraphQLSchema) {
    this.#schema = schema;
  }

  /** The document of a request that may run, or why it may not. @throws RequestRefusedError for a mutation over GET */
  check({
    query,
    operationName,
    method,
  }: Pick<GraphQLRequest, 'query' | 'operationName' | 'method'>): CheckedOperation {
    let checked = this.#checked.get(query);
    if (!checked) {
      checked = this.#parseAndValidate(query);
      this.#checked.set(query, checked);
    }
    if (checked.errors.length > 0) return checked;
    try {
      const { operation } = selectOperation(checked.document, operationName);
      if (!this.#schema.getRootType(operation)) {
        throw new ApiError('GRAPHQL_VALIDATION_FAILED', `The schema has no ${operation} type.`);
      }
      refuseChange(operation, method);
      return checked;
    } catch (error) {
      if (error instanceof RequestRefusedError || !(error instanceof GraphQLError)) throw error;
      return { document: checked.document, errors: [error] };
    }
  }

  #parseAndValidate(query: string): CheckedOperation {
    let document: DocumentNode;
    try {
      document = parseDocument(query, MAX_QUERY_TOKENS);
    } catch (error) {
      if (!(error instanceof GraphQLError)) throw error;
      const nothing = { kind: Kind.DOCUMENT, definitions: [] } as const;
      return { document: nothing, errors: [error] };
    }
    const errors = validate(this.#schema, document);
    return { document, errors: errors.map((error) => withCode(error, 'GRAPHQL_VALIDATION_FAILED')) };
  }
}

/**
 * Parses a document within a limit of tokens, and of as many lines: empty ones are no token, but the location of each error is
 * counted in lines.
 *
 * @throws GraphQLError GRAPHQL_PARSE_FAILED, or COST_LIMIT when there are too many tokens or lines
 */
export function parseDocument(query: string, maxTokens: number): DocumentNode {
  let lines = 1;
  for (const _ of query.matchAll(/\r\n|[\n\r]/g)) {
    lines += 1;
    if (lines > maxTokens) throw tooLarge('lines', maxTokens);
  }
  try {
    return parse(query, { maxTokens });
  } catch (error) {
    if (!(error instanceof GraphQLError)) throw error;
    if (/^Syntax Error: Document contains more tha[nt] \d+ tokens/.test(error.message))
      throw tooLarge('tokens', maxTokens);
    throw withCode(error, 'GRAPHQL_PARSE_FAILED');
  }
}

function tooLarge(what: string, limit: number): ApiError {
  const message = `The document has too many ${what}: expected at most ${limit}.`;
  return new ApiError('COST_LIMIT', message, { reason: 'TOKENS' });
}

/**
 * @throws ApiError OPERATION_RESOLUTION_FAILURE when the document does not have the operation, or several and no name selects one;
 * GRAPHQL_VALIDATION_FAILED when it is a subscription
 */
export function selectOperation(document: DocumentNode, operationName: string | undefined): OperationDefinitionNode {
  const operation = getOperationAST(document, operationName);
  if (!operation) {
    const isAny = document.definitions.some(({ kind }) => kind === Kind.OPERATION_DEFINITION);
    const message = operationName
      ? `"operationName" must be the name of an operation in "query"; got "${operationName.slice(0, MAX_OPERATION_NAME)}".`
      : isAny
        ? '"operationName" is required: "query" has several operations.'
        : '"query" must have an operation.';
    throw new ApiError('OPERATION_RESOLUTION_FAILURE', message);
  }
  if (operation.operation === OperationTypeNode.SUBSCRIPTION) {
    const message = 'Subscriptions are not supported: send a query or a mutation.';
    throw withCode(new GraphQLError(message, { nodes: operation }), 'GRAPHQL_VALIDATION_FAILED');
  }
  return operation;
}

/** @throws RequestRefusedError for a mutation over GET */
export function refuseChange(type: OperationTypeNode, method: GraphQLRequest['method']): void {
  if (type === OperationTypeNode.MUTATION && method === 'GET') {
    const message = 'Method not allowed: mutations must be sent with POST; got GET.';
    throw new RequestRefusedError(405, 'BAD_REQUEST', message, { allow: 'POST, OPTIONS' });
  }
}

/** Runs requests against a schema, each with a context of its own. */
export function operationRunner<Context>(
  schema: GraphQLSchema,
  createContext: (request: GraphQLRequest) => Promise<Context>,
): (request: GraphQLRequest) => Promise<GraphQLResult> {
  const operations = new OperationCache(schema);
  return async (request) => {
    const { document, errors } = operations.check(request);
    if (errors.length > 0) return errors;
    return execute({
      schema,
      document,
      contextValue: await createContext(request),
      variableValues: request.variables,
      operationName: request.operationName,
    });
  };
}

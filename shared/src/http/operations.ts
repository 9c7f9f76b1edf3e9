import {
  type DocumentNode,
  execute,
  GraphQLError,
  type GraphQLSchema,
  getOperationAST,
  type OperationDefinitionNode,
  OperationTypeNode,
  parse,
  validate,
} from 'graphql';
import { LRUCache } from 'lru-cache';
import { type GraphQLRequest, type GraphQLResult, RequestRefusedError } from './graphql-endpoint.js';

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
      refuseChange(selectOperation(checked.document, operationName).operation, method);
      return checked;
    } catch (error) {
      if (error instanceof RequestRefusedError || !(error instanceof GraphQLError)) throw error;
      return { document: checked.document, errors: [error] };
    }
  }

  #parseAndValidate(query: string): CheckedOperation {
    try {
      const document = parse(query, { maxTokens: MAX_QUERY_TOKENS });
      return { document, errors: validate(this.#schema, document) };
    } catch (error) {
      if (error instanceof GraphQLError)
        return { document: { kind: 'Document' as never, definitions: [] }, errors: [error] };
      throw error;
    }
  }
}

/** @throws GraphQLError when the document does not have the operation, or has several and no name says which, or it is a subscription */
export function selectOperation(document: DocumentNode, operationName: string | undefined): OperationDefinitionNode {
  const operation = getOperationAST(document, operationName);
  if (!operation) {
    throw new GraphQLError(
      operationName
        ? `The document has no operation named "${operationName}".`
        : 'The document has several operations; "operationName" must say which one to run.',
    );
  }
  if (operation.operation === OperationTypeNode.SUBSCRIPTION) {
    throw new GraphQLError('Subscriptions are not served here.');
  }
  return operation;
}

/** @throws RequestRefusedError for a mutation over GET */
export function refuseChange(type: OperationTypeNode, method: GraphQLRequest['method']): void {
  if (type === OperationTypeNode.MUTATION && method === 'GET') {
    throw new RequestRefusedError(405, 'BAD_USER_INPUT', 'A mutation must be sent with POST.', { allow: 'POST' });
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

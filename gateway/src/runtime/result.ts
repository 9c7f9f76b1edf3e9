import { executeSync, GraphQLError, type GraphQLSchema } from 'graphql';
import type { ExecutionContext } from '../execution/index.js';
import type { JsonObject } from '../lib/json.js';
import { byClientNames, type ClientDocument, type NormalizedVariables, type Operation } from '../operation/index.js';
import {
  type CompleteData,
  compileCompletion,
  compileJsonWriter,
  conditionError,
  type JsonWriter,
  toClientErrors,
} from '../response/index.js';
import type { Graph } from './graph.js';
import type { OperationRequest, ResultValues } from './operation-request.js';
import type { PluginOperation } from './plugin.js';

/** An operation with the request that runs it; plug-ins see it as a `PluginOperation`. */
export class RunningOperation implements PluginOperation {
  readonly graph: Graph;
  readonly request: OperationRequest;
  readonly operation: Operation;
  readonly document: ClientDocument;
  readonly variables: NormalizedVariables;

  constructor(
    graph: Graph,
    request: OperationRequest,
    operation: Operation,
    document: ClientDocument,
    variables: NormalizedVariables,
  ) {
    this.graph = graph;
    this.request = request;
    this.operation = operation;
    this.document = document;
    this.variables = variables;
  }

  get type() {
    return this.document.type;
  }

  get operationName() {
    return this.document.operationName;
  }

  get query() {
    return this.request.query;
  }

  get clientVariables() {
    return this.request.variables ?? {};
  }

  get clientHeaders() {
    return this.request.clientHeaders ?? {};
  }

  get requestId() {
    return this.request.requestId;
  }

  get normalizedDocument() {
    return this.operation.document;
  }

  get schema() {
    return this.graph.schema;
  }
}

/** What completes and writes the result of an operation, compiled for one set of conditions. */
export interface Output {
  /** Null when it depends on the request, because the operation selects `__schema` or `__type`. */
  readonly complete: CompleteData | null;
  readonly write: JsonWriter | null;
}

export function compileOutput(
  schema: GraphQLSchema,
  operation: Operation,
  variables: Readonly<Record<string, unknown>>,
): Output {
  const { definition, fragments, responseNames, introspection } = operation;
  if (introspection) return { complete: null, write: null };
  const inputs = { schema, fragments, variables, responseNames, introspection: null };
  return { complete: compileCompletion(definition, inputs), write: compileJsonWriter(definition, inputs) };
}

/** Completes data by the schema, and puts errors in the client's names. */
export function completeResult(
  { graph, request, operation, document, variables }: RunningOperation,
  complete: CompleteData,
  { data, errors }: Pick<ExecutionContext, 'data' | 'errors'>,
): ResultValues {
  const completed = complete(data, errors);
  // Without data, the error that caused it is enough.
  const listed = errors.list.filter(({ isConsequence }) => completed !== null || !isConsequence);
  if (listed.length === 0) return { data: completed };
  const shown = toClientErrors(listed, {
    schema: graph.schema,
    types: graph.types,
    query: request.query,
    document,
    operation,
    clientVariables: request.variables ?? {},
    variables: variables.coerced,
    data,
    requestId: request.requestId,
    suggestions: graph.suggestions,
  });
  return { ...(shown.length > 0 && { errors: shown }), data: completed };
}

/** Executes the introspection that an operation has, and compiles the completion of the result with it. */
export function introspect(running: RunningOperation): CompleteData {
  const { graph, operation, variables } = running;
  const { definition, fragments, responseNames, introspection } = operation;
  const { schema } = graph;
  try {
    if (!introspection) throw new Error('Only an operation that selects the schema is completed by introspection.');
    const { data, errors } = executeSync({ schema, document: introspection, variableValues: variables.sent });
    if (!data) throw errors?.[0] ?? new GraphQLError('The schema could not be read.');
    const inputs = {
      schema,
      fragments,
      variables: variables.coerced,
      responseNames,
      introspection: data as JsonObject,
    };
    return compileCompletion(definition, inputs);
  } catch (error) {
    return refuse(error, running);
  }
}

/** @throws the error of a preparation, in terms of one of the requests that wait for it */
export function refuse(error: unknown, { request, document, variables }: RunningOperation): never {
  const { query, requestId } = request;
  if (!(error instanceof GraphQLError)) throw error;
  if (error.extensions.code === undefined) {
    throw conditionError(query, document, byClientNames(document, variables.coerced)) ?? error;
  }
  if (error.extensions.code !== 'INTERNAL_SERVER_ERROR' || requestId === undefined) throw error;
  const { message, extensions, cause } = error;
  if (cause === undefined) throw error;
  // The first request that waits for the plan logs the cause; the others get an error with that request's id.
  Object.assign(extensions, { requestId });
  error.cause = undefined;
  throw new GraphQLError(message, { extensions, originalError: cause as Error });
}

import type { GraphQLRequest, WrittenResult } from '@tributary/server';
import type { DocumentNode, GraphQLError, GraphQLSchema, OperationTypeNode } from 'graphql';
import type { Explanation, FetchTrace } from '../execution/index.js';
import type { Cancellation } from '../lib/lazy-abort-controller.js';
import type { SubgraphRequest, SubgraphResult } from '../subgraph/index.js';
import type { ResultValues } from './operation-request.js';

/**
 * Extends the gateway between the stages of a request. Every hook is optional, and one that no plug-in has costs nothing. Plug-ins run in
 * the order in which they are registered: `createGateway(config, logger, { plugins })` registers yours before the gateway's own
 * (operation limits, explain, freshness report, client-query deduplication).
 *
 * `onRequest` and `onSubgraphFetch` may be asynchronous; the other hooks are synchronous, and one that returns a promise fails.
 *
 * An `ApiError` (or another `GraphQLError`) that a hook throws becomes an error of the response, with its code. Any other error is logged
 * with the plug-in's name, and the client receives INTERNAL_SERVER_ERROR.
 *
 * @example
 * const onlyNamed: GatewayPlugin = {
 *   name: 'only-named',
 *   onExecute({ operationName }) {
 *     if (operationName === null) throw new ApiError('BAD_REQUEST', 'Name your operation.');
 *   },
 * };
 */
export interface GatewayPlugin {
  /** Names the plug-in in logs. */
  readonly name: string;
  /**
   * Request headers that change what the plug-in does. Requests that differ in one of them are not deduplicated.
   */
  readonly requestHeaders?: readonly string[];
  /**
   * Called for each request before it is parsed. Calls `next` with the request, or with a changed one (see `ClientRequest.with`), and returns
   * its response or another; a plug-in that does not call `next` responds in the gateway's place with a `WrittenResult`. Rate limits,
   * documents by an id that clients send as `query`, and rewriting documents for authorization belong here: the text that is passed on is
   * cached, planned and deduplicated as if the client had sent it. After a mutation, an error that is thrown here loses its consistency
   * token.
   */
  onRequest?(request: ClientRequest, next: RunRequest): Promise<WrittenResult>;
  /** Called for each new document after parsing, and not again while the document is cached. An error that it throws is cached, too. */
  onParse?(parsed: ParsedDocument): void;
  /**
   * Called for each new operation besides the validation rules of GraphQL, and not again while the operation is cached: documents that
   * differ only in literals, variables' names or the operation's name are one operation. Errors that it returns refuse the document.
   */
  onValidate?(parsed: ParsedDocument): readonly GraphQLError[] | undefined;
  /** Called for each request before its plan is looked up or made. Throws to refuse the request before it costs planning. */
  onPlan?(operation: PluginOperation): void;
  /** Called for each request before its plan is executed. May return hooks that are called later for this request. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a hook without a return statement is fine.
  onExecute?(operation: PluginOperation): ExecutionHooks | undefined | void;
  /**
   * Called for each request to a subgraph, instead of sending it. Calls `next` with the request, or with a changed one (other headers, for
   * instance), and returns its result or another. It is below the cache and below in-flight deduplication: a response that comes from
   * either makes no request, and the headers from before the hook decide who may share a response. So a hook must not make the data depend
   * on anything that the request does not contain.
   */
  onSubgraphFetch?(
    request: SubgraphRequest,
    next: (request: SubgraphRequest) => Promise<SubgraphResult>,
    subgraph: string,
  ): Promise<SubgraphResult>;
}

/** A client's request as the HTTP server reads it, and what the gateway has cached of its operation. */
export interface ClientRequest extends GraphQLRequest {
  /** Identifies the supergraph that the request runs on. */
  readonly supergraphId: string;
  /** Changes with each invalidation: an earlier response may be older than a request with a later epoch allows. */
  readonly cacheEpoch: number;
  /** The type of the operation; undefined when its document is not cached yet. */
  operationType(): OperationTypeNode | undefined;
  /** Whether a header, the configuration or the operation bounds the staleness of the response; true when the document is not cached yet. */
  isStalenessBounded(): boolean;
  /** Identifies the headers that subgraphs are sent and the consistency token: requests that differ in it may get different data. */
  partitionKey(): string;
  /**
   * Creates a request with another document, operation name or variables, which are then cached, planned and deduplicated.
   *
   * @example
   * onRequest: (request, next) => next(request.with({ query: documents.get(request.query) ?? request.query })),
   */
  with(change: RequestChange): ClientRequest;
}

/** What a plug-in can change of a request. */
export type RequestChange = Partial<Pick<GraphQLRequest, 'query' | 'operationName' | 'variables'>>;

/**
 * Runs a request and resolves to its response.
 *
 * @param cancellation replaces the request's own and aborts the execution, for a response that several clients wait for. It does not abort a
 *   query that a plug-in below shares with other clients.
 */
export type RunRequest = (
  request: ClientRequest,
  cancellation?: Cancellation & { readonly aborted: boolean },
) => Promise<WrittenResult>;

/** A document that is parsed, but neither validated nor planned. */
export interface ParsedDocument {
  readonly document: DocumentNode;
  readonly operationName: string | undefined;
  readonly schema: GraphQLSchema;
}

/** An operation of a request, with coerced variables. */
export interface PluginOperation {
  readonly type: OperationTypeNode;
  /** The client's name for the operation; null without one. */
  readonly operationName: string | null;
  /** The text that was parsed. */
  readonly query: string;
  /** The variables as the client sent them. */
  readonly clientVariables: Readonly<Record<string, unknown>>;
  /** The headers that the client sent, in lower case. */
  readonly clientHeaders: Readonly<Record<string, string | string[] | undefined>>;
  readonly requestId: string | undefined;
  /** The normalized operation: literals are variables, and conflicting fields have aliases. */
  readonly normalizedDocument: DocumentNode;
  readonly schema: GraphQLSchema;
}

/** What a plug-in does later for one request. */
export interface ExecutionHooks {
  /** Whether fetches are traced; `onResult` gets the traces. */
  readonly trace?: boolean;
  /**
   * Sees or replaces the result before it is serialized. (Without it, results without errors are serialized in one step.) When it throws,
   * the client receives the error and no data.
   */
  onResult(result: ResultValues, execution: ExecutionReport): ResultValues;
}

/** How a result was produced. */
export interface ExecutionReport {
  /** Describes the plan that was executed last, as text and as JSON. */
  plan(): Explanation['plan'];
  readonly planning: Explanation['planning'];
  /** Whether the authoritative plan was executed in the end, because a copy was older than the request allows. */
  readonly switched: boolean;
  /** The fetches, if a plug-in asked for traces; else empty. */
  readonly traces: readonly FetchTrace[];
  /** When the request arrived, by `performance.now()`. */
  readonly started: number;
}

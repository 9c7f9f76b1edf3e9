import type { GraphQLError, OperationTypeNode } from 'graphql';
import type { Requirements } from '../consistency/index.js';
import type { JsonObject } from '../lib/json.js';
import type { Cancellation } from '../lib/lazy-abort-controller.js';

/** The headers of a request, in lower case. */
export type ClientHeaders = Readonly<Record<string, string | string[] | undefined>>;

/** One operation that a client sends, without the HTTP around it. */
export interface OperationRequest {
  readonly query: string;
  readonly operationName?: string | undefined;
  readonly variables?: Readonly<Record<string, unknown>>;
  /** Identifies the client; new operations of different clients are planned in turn. */
  readonly client?: string | undefined;
  /** The headers that subgraphs are sent. */
  readonly headers?: Readonly<Record<string, string>>;
  /** The id by which errors refer to the log. */
  readonly requestId?: string | undefined;
  /** How fresh everything must be that the operation reads. */
  readonly requirements?: Requirements;
  /** Aborted when the client has disconnected. */
  readonly cancellation?: Cancellation;
  /** The headers that the client sent, in lower case; plug-ins read them. */
  readonly clientHeaders?: ClientHeaders;
  /** Checks whether an operation of this type may run. @throws when it may not */
  readonly allow?: (type: OperationTypeNode) => void;
}

/** A result as values; without `data`, nothing was executed. */
export interface ResultValues {
  readonly data?: JsonObject | null;
  readonly errors?: readonly GraphQLError[];
  readonly extensions?: Readonly<Record<string, unknown>>;
}

/** The result of an operation: JSON text, or values that are not serialized yet. */
export type OperationResult = ({ readonly text: string } | ResultValues) & {
  /** After a mutation: the positions that include its changes, by source. */
  readonly positions?: ReadonlyMap<string, number>;
};

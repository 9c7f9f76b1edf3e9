import type { GraphQLSchema } from 'graphql';
import type { JsonObject } from '../lib/json.js';
import type { TypeConditions } from '../lib/type-conditions.js';
import type { ClientDocument, Operation } from '../operation/index.js';

/** The request whose errors are converted to the client's terms. */
export interface ErrorContext {
  /** The schema that clients see. */
  readonly schema: GraphQLSchema;
  /** The types of the whole graph. */
  readonly types: TypeConditions;
  /** The client's text. */
  readonly query: string;
  readonly document: ClientDocument;
  readonly operation: Operation;
  /** The variables as the client sent them. */
  readonly clientVariables: Readonly<Record<string, unknown>>;
  /** The coerced variables, by normalized name. */
  readonly variables: Readonly<Record<string, unknown>>;
  /** The data, under the plan's response names. */
  readonly data: JsonObject;
  readonly requestId: string | undefined;
  /** Whether messages may suggest names of the schema. */
  readonly suggestions: boolean;
}

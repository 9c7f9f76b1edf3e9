import type {
  DocumentNode,
  FragmentDefinitionNode,
  GraphQLError,
  OperationDefinitionNode,
  OperationTypeNode,
  VariableDefinitionNode,
} from 'graphql';
import type { LRUCache } from 'lru-cache';

/** An operation, planned and compiled for one set of conditions; `planning/` defines the rest of it. */
export interface Prepared {
  /** The estimated memory of its plans, in bytes. */
  readonly planWeight: number;
}

/** The text of a document, and the name of the operation in it; undefined when the document has one operation. */
export interface OperationSource {
  readonly query: string;
  readonly operationName: string | undefined;
}

/** A normalized operation. Documents that differ only in literals, variables' names or the operation's name share one. */
export interface Operation {
  /** Identifies the operation: a hash of its normalized document. */
  readonly hash: string;
  /** The estimated memory of the operation without its prepared operations, in bytes. */
  readonly weight: number;
  /** The number of its fields, each fragment counted wherever it is spread. */
  readonly fields: number;
  /** With normalized variables, without a name, and with response names that do not conflict in a plan. */
  readonly document: DocumentNode;
  readonly definition: OperationDefinitionNode;
  readonly fragments: Readonly<Record<string, FragmentDefinitionNode>>;
  /** The client's response names of renamed fields; see `rename-conflicts.ts`. */
  readonly responseNames: ReadonlyMap<string, string | null>;
  /** The variables in `@skip` and `@include`, by normalized name. */
  readonly conditions: readonly string[];
  /** The staleness bound of `@maxStaleness(of: "500ms")`, in milliseconds; infinite without it. */
  readonly maxStalenessMs: number;
  /** The selections of `__schema` and `__type`, as a document; null without any. */
  readonly introspection: DocumentNode | null;
  /** The newest of the clients' documents. */
  source: OperationSource;
  /** Prepared operations, by the values of the conditions and the override labels. */
  readonly prepared: LRUCache<string, Prepared>;
}

/** A client's document and its relation to the normalized operation. Refers to it by hash only, so that an evicted operation is freed. */
export interface ClientDocument {
  /** The hash of the normalized operation. */
  readonly hash: string;
  readonly type: OperationTypeNode;
  /** The client's name for the operation; null without one. */
  readonly operationName: string | null;
  /** The variables as the client declares them. */
  readonly variableDefinitions: readonly VariableDefinitionNode[];
  /** The normalized names of the variables, by the client's. */
  readonly variableNames: ReadonlyMap<string, string>;
  /** The values of the literals that became variables, by normalized name. */
  readonly literals: Readonly<Record<string, unknown>>;
  /** The estimated memory of the document, in bytes. */
  readonly weight: number;
}

/** An operation and the client's document of it, or the errors of an invalid document. */
export type ValidationResult =
  | { readonly operation: Operation; readonly document: ClientDocument }
  | { readonly errors: readonly GraphQLError[] };

import type { OperationTypeNode } from 'graphql';

// The form of a query plan that planners produce and the executor runs. Its JSON is that of Apollo's planner, which
// `extensions.explanation` shows and which other federation planners use, too.

/** How an operation is executed: which fetches, in which order. Plain JSON, immutable. */
export interface QueryPlan {
  readonly kind: 'QueryPlan';
  /** Undefined when no subgraph is needed (introspection, or everything skipped). */
  readonly node?: PlanNode | undefined;
}

export type PlanNode = FetchNode | FlattenNode | SequenceNode | ParallelNode | ConditionNode | DeferNode;

/** Runs the nodes one after the other. */
export interface SequenceNode {
  readonly kind: 'Sequence';
  readonly nodes: readonly PlanNode[];
}

/** Runs the nodes at the same time. */
export interface ParallelNode {
  readonly kind: 'Parallel';
  readonly nodes: readonly PlanNode[];
}

/** Runs a node for every object at a path of the response, such as `products.@.seller`. */
export interface FlattenNode {
  readonly kind: 'Flatten';
  readonly path: PlanPath;
  readonly node: PlanNode;
}

/** A path from the object where a node starts: field names, `@` for the items of a list, `|[T1,T2]` for a type condition. */
export type PlanPath = readonly (string | number)[];

/** Sends one operation to a subgraph. */
export interface FetchNode {
  readonly kind: 'Fetch';
  /** The subgraph's name. */
  readonly serviceName: string;
  /** The text of the operation. */
  readonly operation: string;
  readonly operationName: string | undefined;
  readonly operationKind: OperationTypeNode;
  /** The client's variables that it uses. */
  readonly variableUsages?: readonly string[] | undefined;
  /** An entity fetch: the fields of which each representation is made. Without it, a root fetch. */
  readonly requires?: readonly RequiredSelection[] | undefined;
  /** Changes of the representations before they are sent. */
  readonly inputRewrites?: readonly Rewrite[] | undefined;
  /** Changes of the data before it is merged. */
  readonly outputRewrites?: readonly Rewrite[] | undefined;
  /** Values of enclosing objects that become variables (`@fromContext`). */
  readonly contextRewrites?: readonly RenameKey[] | undefined;
}

/** A selection of a representation's fields (`@key`, `@requires`). */
export type RequiredSelection = RequiredField | RequiredFragment;

export interface RequiredField {
  readonly kind: 'Field';
  readonly alias?: string | undefined;
  readonly name: string;
  readonly selections?: readonly RequiredSelection[] | undefined;
}

export interface RequiredFragment {
  readonly kind: 'InlineFragment';
  readonly typeCondition?: string | undefined;
  readonly selections: readonly RequiredSelection[];
}

export type Rewrite = SetValue | RenameKey;

/** Replaces the value at a path. */
export interface SetValue {
  readonly kind: 'ValueSetter';
  readonly path: readonly string[];
  readonly setValueTo: unknown;
}

/** Renames the key at the end of a path. */
export interface RenameKey {
  readonly kind: 'KeyRenamer';
  readonly path: readonly string[];
  readonly renameKeyTo: string;
}

/** Runs a branch by the value of a Boolean variable. */
export interface ConditionNode {
  readonly kind: 'Condition';
  readonly condition: string;
  readonly ifClause?: PlanNode | undefined;
  readonly elseClause?: PlanNode | undefined;
}

/** Runs the primary part first, and the deferred parts when what they depend on is there (`@defer`). */
export interface DeferNode {
  readonly kind: 'Defer';
  readonly primary: { readonly subselection?: string | undefined; readonly node?: PlanNode | undefined };
  readonly deferred: readonly DeferredNode[];
}

export interface DeferredNode {
  readonly depends: readonly { readonly id: string; readonly deferLabel?: string | undefined }[];
  readonly label?: string | undefined;
  readonly queryPath: readonly string[];
  readonly subselection?: string | undefined;
  readonly node?: PlanNode | undefined;
}

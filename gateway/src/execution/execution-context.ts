import type { Observed, Requirements } from '../consistency/index.js';
import type { JsonObject } from '../lib/json.js';
import type { Cancellation } from '../lib/lazy-abort-controller.js';
import type { ResponseErrors } from '../response/response-errors.js';
import type { FetchTrace } from './explanation.js';

/** What one request brings to an operation. */
export interface ExecutionContext {
  readonly variables: Readonly<Record<string, unknown>>;
  /** Sent to subgraphs. */
  readonly headers: Readonly<Record<string, string>>;
  /** Those with the same credentials may share what they fetch; null: nothing is shared. */
  readonly credentials: string | null;
  /** Aborts when the client disconnects; null for mutations, which are carried out in any case. */
  readonly cancellation: Cancellation | null;
  /** The answer as the subgraphs give it, in their names; grows as the plan runs. */
  readonly data: JsonObject;
  readonly errors: ResponseErrors;
  /** Whether no text in the data has anything that JSON escapes. */
  plain: boolean;
  /** What everything that is read must be at least; null: nothing comes from a cache. */
  readonly requirements: Requirements | null;
  /** Whose answers those are that are only for him: his credentials. */
  readonly reader: string;
  /** Something that was fetched is older than what was heard of since: it came from a copy that is behind. */
  outdated: boolean;
  /** From which states the subgraphs answered, and when they did. */
  readonly observed: Observed[];
  /** What was fetched, when the client asked to be told. */
  readonly traces: FetchTrace[] | null;
}

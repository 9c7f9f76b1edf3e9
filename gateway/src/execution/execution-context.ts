import type { Observed, Requirements } from '../consistency/index.js';
import type { ResponseErrors } from '../lib/error-list.js';
import type { JsonObject } from '../lib/json.js';
import type { Cancellation } from '../lib/lazy-abort-controller.js';
import type { FetchTrace } from './fetch-trace.js';

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
  /** Whether fetched data was invalidated after it was read: it came from a copy that is behind. */
  outdated: boolean;
  /** From which states the subgraphs answered, and when they did. */
  readonly observed: Observed[];
  /** The fetches, if the client asked for an explanation or a freshness report. */
  readonly traces: FetchTrace[] | null;
}

import type { Observed, Requirements } from '../consistency/index.js';
import type { ResponseErrors } from '../lib/error-list.js';
import type { JsonObject } from '../lib/json.js';
import type { Cancellation } from '../lib/lazy-abort-controller.js';
import type { FetchTrace } from './fetch-trace.js';

/** One execution of a plan: its inputs, and the data and errors that its fetches add. */
export interface ExecutionContext {
  readonly variables: Readonly<Record<string, unknown>>;
  /** The headers that subgraphs are sent. */
  readonly headers: Readonly<Record<string, string>>;
  /** Partition key of fetches in flight: requests with equal credentials may share a fetch. Null when nothing is shared. */
  readonly credentials: string | null;
  /** Aborted when the client disconnects; null for mutations, which run to their end. */
  readonly cancellation: Cancellation | null;
  /** The data so far, with the response names of the plan. */
  readonly data: JsonObject;
  readonly errors: ResponseErrors;
  /** Whether no string in the data needs escaping in JSON. */
  plain: boolean;
  /** How fresh all data must be; null when nothing is read from the cache. */
  readonly requirements: Requirements | null;
  /** Partition key of private cache entries: the credentials of the client. */
  readonly reader: string;
  /** Whether fetched data was invalidated after it was read, because it came from a copy that lags. */
  outdated: boolean;
  /** The positions that subgraphs reported with results, and when the requests were sent. */
  readonly observed: Observed[];
  /** Traces of the fetches; null unless the request needs an explanation or a freshness report. */
  readonly traces: FetchTrace[] | null;
}

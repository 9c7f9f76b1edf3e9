import type { Invalidations, ReadPosition } from '@tributary/consistency';
import type { Abandonment } from '../lib/abandonment.js';
import type { JsonObject } from '../lib/json.js';

/** What a subgraph answered, or what stands for its answer when it could not be asked. */
export interface SubgraphResult {
  readonly data?: JsonObject | null | undefined;
  readonly errors?: readonly SubgraphError[] | undefined;
  /** The size of the answer. */
  readonly bytes?: number;
  /** Whether no text in it has anything that JSON escapes. */
  readonly plain?: boolean;
  /** When it was asked, by `performance.now()`. */
  readonly sentAt?: number;
  /** From which state it was answered, where the subgraph says so. */
  readonly positions?: ReadonlyMap<string, ReadPosition>;
  /**
   * There is no answer, and asking again at once would not help: the subgraph could not be reached, its circuit is open, or it
   * refuses the caller.
   */
  readonly isFinal?: boolean;
  /** Which entities were touched until then, where it was a mutation and the subgraph says so. */
  readonly invalidations?: Invalidations;
}

export interface SubgraphError {
  readonly message?: string;
  readonly path?: readonly (string | number)[] | undefined;
  /** Where in the operation that the subgraph was sent, from 1. */
  readonly locations?: readonly { readonly line: number; readonly column: number }[] | undefined;
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
}

/** A request to a subgraph; `repeatable` says that it changes nothing. */
export interface SubgraphRequest {
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly repeatable: boolean;
  /** Ends the request when nobody waits for it any more. */
  readonly abandonment: Abandonment | null;
}

/** Asks a subgraph; never rejects: what went wrong is among the errors. */
export type Fetcher = (request: SubgraphRequest) => Promise<SubgraphResult>;

import type { Invalidations, ReadPosition } from '@tributary/consistency';
import type { JsonObject } from '../lib/json.js';

/** The name and the URL of a subgraph. */
export interface Subgraph {
  readonly name: string;
  readonly url: string;
}

/** Forwards a header of clients' requests to all subgraphs, or to one. */
export interface HeaderRule {
  readonly name: string;
  /** Null: all subgraphs. */
  readonly subgraph: string | null;
}

/** The result of a request to a subgraph, or the errors that replace it when the subgraph could not be reached. */
export interface SubgraphResult {
  readonly data?: JsonObject | null | undefined;
  readonly errors?: readonly SubgraphError[] | undefined;
  /** The size of the response, decompressed. */
  readonly bytes?: number;
  /** Whether no string in the data needs escaping in JSON. */
  readonly plain?: boolean;
  /** When the request was sent, by the monotonic clock. */
  readonly sentAt?: number;
  /** The positions that the result was read from, if the subgraph reports them. */
  readonly positions?: ReadonlyMap<string, ReadPosition>;
  /**
   * Whether a retry at once would not help: the subgraph could not be reached, its circuit is open, or it refuses the caller.
   */
  readonly isFinal?: boolean;
  /** The entities that a mutation changed, if the subgraph reports them. */
  readonly invalidations?: Invalidations;
}

/** An error of a result, as the subgraph sent it. */
export interface SubgraphError {
  readonly message?: string;
  readonly path?: readonly (string | number)[] | undefined;
  /** Positions in the operation that was sent to the subgraph, from 1. */
  readonly locations?: readonly { readonly line: number; readonly column: number }[] | undefined;
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
}

/** A request to a subgraph. */
export interface SubgraphRequest {
  readonly body: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Whether it changes nothing, so that it may be sent again. */
  readonly repeatable: boolean;
  /** Cancels the request; null: it runs to its end. */
  readonly signal: AbortSignal | null;
}

/**
 * What a subgraph responds with: one result, which a promise gives and never rejects (failures are among its errors), or several results
 * one after the other. No client streams yet.
 */
export type SubgraphResponse = Promise<SubgraphResult> | AsyncIterable<SubgraphResult>;

/** The port to one subgraph, whatever protocol it speaks. */
export interface SubgraphClient {
  /** Sends one operation to the subgraph. */
  readonly execute: (request: SubgraphRequest) => SubgraphResponse;
}

/** Sends one operation whose result comes whole. Never rejects: failures are among the errors of the result. */
export type Fetcher = (request: SubgraphRequest) => Promise<SubgraphResult>;

/** A subgraph without the credentials in its URL, for the supergraph, logs and messages. */
export function withoutCredentials({ name, url }: Subgraph): Subgraph {
  const shown = new URL(url);
  shown.username = '';
  shown.password = '';
  return { name, url: shown.href };
}

import type { ReadPosition, Touches } from '@tributary/consistency';
import type { Observed, Requirements } from '../consistency/requirements.js';
import type { FetchTrace } from '../execution/explanation.js';
import type { ResponseErrors } from '../response/response-errors.js';
import type { Abandonment } from './abandonment.js';

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
  readonly touches?: Touches;
}

export interface SubgraphError {
  readonly message?: string;
  readonly path?: readonly (string | number)[] | undefined;
  /** Where in the operation that the subgraph was sent, from 1. */
  readonly locations?: readonly { readonly line: number; readonly column: number }[] | undefined;
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
}

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json | undefined;
}

export type Path = readonly (string | number)[];

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

/** What one request brings to an operation. */
export interface Run {
  readonly variables: Readonly<Record<string, unknown>>;
  /** Sent to subgraphs. */
  readonly headers: Readonly<Record<string, string>>;
  /** Those with the same credentials may share what they fetch; null: nothing is shared. */
  readonly credentials: string | null;
  /** Null when it is carried out even if the client goes: a mutation. */
  readonly abandonment: Abandonment | null;
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

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A field of an object; what every JavaScript object has by inheritance (`constructor`, `toString`) is not meant. */
export function own(object: JsonObject, name: string): Json | undefined {
  const value = object[name];
  return typeof value === 'function' ? undefined : value;
}

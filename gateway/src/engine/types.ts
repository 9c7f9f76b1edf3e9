import type { GraphQLError } from 'graphql';

/** What a subgraph answered, or what stands for its answer when it could not be asked. */
export interface SubgraphResult {
  readonly data?: JsonObject | null | undefined;
  readonly errors?: readonly SubgraphError[] | undefined;
}

export interface SubgraphError {
  readonly message?: string;
  readonly path?: readonly (string | number)[] | undefined;
  readonly extensions?: Readonly<Record<string, unknown>> | undefined;
}

export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json | undefined;
}

export type Path = readonly (string | number)[];

/** Asks a subgraph; never rejects: what went wrong is among the errors. */
export type Fetcher = (
  body: string,
  headers: Readonly<Record<string, string>>,
  repeatable: boolean,
) => Promise<SubgraphResult>;

/** What one request brings to an operation. */
export interface Run {
  readonly variables: Readonly<Record<string, unknown>>;
  /** Sent to subgraphs. */
  readonly headers: Readonly<Record<string, string>>;
  /** Those with the same credentials may share what they fetch; null: nothing is shared. */
  readonly credentials: string | null;
  /** The answer as the subgraphs give it, in their names; grows as the plan runs. */
  readonly data: JsonObject;
  readonly errors: GraphQLError[];
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A field of an object; what every JavaScript object has by inheritance (`constructor`, `toString`) is not meant. */
export function own(object: JsonObject, name: string): Json | undefined {
  const value = object[name];
  return typeof value === 'function' ? undefined : value;
}

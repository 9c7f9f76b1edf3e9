import type { QueryPlan } from './query-plan.js';

// What the gateway and the processes of its planners send each other. One request is answered before the next is sent.

/** Why an operation was not planned, or a supergraph not loaded. */
export type PlanningFailure =
  /** The planner cannot run on this platform. */
  | 'unavailable'
  /** The planner failed: a fault of its own, or something that it does not support. */
  | 'failed'
  /** The planner's process ended. */
  | 'crashed'
  /** Planning took too much time or memory. */
  | 'expensive'
  /** The operation cannot be planned; the message is for the client. */
  | 'refused';

export interface LoadRequest {
  readonly type: 'load';
  /** Identifies the supergraph in later requests. */
  readonly supergraph: string;
  readonly sdl: string;
}

export interface PlanRequest {
  readonly type: 'plan';
  readonly supergraph: string;
  /** The text of the operation and its fragments. */
  readonly document: string;
  /** The values of the variables in `@skip` and `@include`. */
  readonly conditions: Readonly<Record<string, boolean>>;
  /** Whether each label of progressive `@override`s is on. */
  readonly overrides: Readonly<Record<string, boolean>>;
  readonly timeoutMs: number;
}

/** Drops a supergraph; not answered. */
export interface UnloadRequest {
  readonly type: 'unload';
  readonly supergraph: string;
}

export type PlannerRequest = LoadRequest | PlanRequest | UnloadRequest;

export type PlannerResponse =
  | { readonly type: 'loaded' }
  | { readonly type: 'planned'; readonly plan: QueryPlan }
  | { readonly type: 'failed'; readonly failure: PlanningFailure; readonly message: string };

export class PlanningError extends Error {
  readonly failure: PlanningFailure;

  constructor(failure: PlanningFailure, message: string) {
    super(message);
    this.name = 'PlanningError';
    this.failure = failure;
  }
}

/** The code with which a planner's process ends itself when it takes too much memory. */
export const OUT_OF_MEMORY = 90;

import type { ReadPosition } from '@tributary/consistency';
import type { PlanPath } from '../planning/index.js';

/** One fetch, or one look-up in the cache, in an explanation. */
export interface FetchTrace {
  readonly subgraph: string;
  /** The paths of the response that it was for; several when fetches were merged into one. */
  readonly paths: readonly string[];
  /** How many entities it requested. */
  readonly entities: number;
  /** Whether it joined a fetch in flight. */
  readonly shared: boolean;
  /** Milliseconds since the request arrived. */
  readonly startMs: number;
  readonly durationMs: number;
  /** How many of the entities (or 1 for a root fetch) came from the cache. */
  readonly cached: number;
  /** How long ago, in milliseconds, the oldest of these was read. */
  readonly cacheAgeMs: number;
  /** The positions that the data was read at, by source. */
  readonly positions: Readonly<Record<string, ReadPosition>>;
  /** The size of the subgraph's response. */
  readonly bytes: number;
  readonly errors: number;
}

/** Starts the trace of a fetch or a look-up with what it is for; the caller sets its times and outcome. */
export function traceOf(subgraph: string, paths: readonly PlanPath[], entities: number): FetchTrace {
  return {
    subgraph,
    paths: paths.map((path) => path.join('.')),
    entities,
    shared: false,
    startMs: 0,
    durationMs: 0,
    cached: 0,
    cacheAgeMs: 0,
    positions: {},
    bytes: 0,
    errors: 0,
  };
}

/** Rounds a duration to a hundredth of a millisecond. */
export function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}

import { performance } from 'node:perf_hooks';
import type { ReadPosition } from '@tributary/consistency';
import { formatPlan, type QueryPlan } from '../planning/index.js';

/** One fetch, or one look-up in the cache, in an explanation. */
export interface FetchTrace {
  readonly subgraph: string;
  /** Where in the answer it was for; several, when fetches were merged into one. */
  readonly paths: readonly string[];
  /** How many entities were asked for. */
  readonly entities: number;
  /** Somebody else's fetch under way was waited for. */
  readonly shared: boolean;
  /** Milliseconds since the request came. */
  readonly startMs: number;
  readonly durationMs: number;
  /** How many of the entities (or the one answer) came from the cache. */
  readonly cached: number;
  /** How long ago, in milliseconds, the oldest of these was read. */
  readonly cacheAgeMs: number;
  /** From which state it was answered: by source. */
  readonly positions: Readonly<Record<string, ReadPosition>>;
  /** Size of the subgraph's answer. */
  readonly bytes: number;
  readonly errors: number;
}

/** What `extensions.explanation` says. */
export interface Explanation {
  readonly plan: { readonly text: string; readonly json: QueryPlan };
  /** Whether the operation had to be planned for this request, and how long that took. */
  readonly planning: { readonly cached: boolean; readonly durationMs: number };
  /** Whether owners were asked because a copy was older than the client allows, or than what is known. */
  readonly switched: boolean;
  readonly fetches: readonly FetchTrace[];
  readonly durationMs: number;
}

interface Explained extends Pick<Explanation, 'planning' | 'switched'> {
  readonly traces: readonly FetchTrace[];
  /** When the request came, as `performance.now()` says it. */
  readonly started: number;
}

export function explain(plan: QueryPlan, { planning, switched, traces, started }: Explained): Explanation {
  const fetches = traces.map((trace) => ({ ...trace, startMs: rounded(trace.startMs - started) }));
  const durationMs = rounded(performance.now() - started);
  return { plan: { text: formatPlan(plan), json: plan }, planning, switched, fetches, durationMs };
}

/** What `extensions.freshness` says. */
export interface FreshnessReport {
  /** Whether owners were asked because a copy was older than the client allows, or than what is known. */
  readonly switched: boolean;
  readonly sources: readonly {
    readonly subgraph: string;
    readonly cache: 'hit' | 'miss' | 'partial';
    /** How long ago, in milliseconds, the oldest part that came from the cache was read. */
    readonly ageMs: number;
    /** Of the copies that the subgraph has: how long ago, in milliseconds, each was last known to be level with its owner. */
    readonly copyLagMs: Readonly<Record<string, number>>;
  }[];
}

export function reportFreshness(traces: readonly FetchTrace[], switched: boolean): FreshnessReport {
  const subgraphs = [...new Set(traces.map(({ subgraph }) => subgraph))];
  const sources = subgraphs.map((subgraph) => {
    const of = traces.filter((trace) => trace.subgraph === subgraph);
    const hits = of.filter(({ cached }) => cached > 0);
    const copies = of.flatMap(({ positions }) => Object.entries(positions));
    const cache = hits.length === 0 ? 'miss' : hits.length === of.length ? 'hit' : 'partial';
    const lags = copies.flatMap(([source, { ageMs }]) => (ageMs === null ? [] : [[source, ageMs] as const]));
    return {
      subgraph,
      cache: cache as 'hit' | 'miss' | 'partial',
      ageMs: Math.max(0, ...hits.map(({ cacheAgeMs }) => cacheAgeMs)),
      copyLagMs: Object.fromEntries(lags.sort(([, a], [, b]) => a - b)),
    };
  });
  return { switched, sources };
}

/** To a hundredth of a millisecond. */
export function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}

import { performance } from 'node:perf_hooks';
import { formatPlan, type PlannerName, type QueryPlan } from '../planning/index.js';
import { type FetchTrace, rounded } from './fetch-trace.js';

/** What `extensions.explanation` says. */
export interface Explanation {
  readonly plan: { readonly text: string; readonly json: QueryPlan };
  /** Which planner planned the operation, whether it had to for this request, and how long that took. */
  readonly planning: { readonly planner: PlannerName; readonly cached: boolean; readonly durationMs: number };
  /** Whether the authoritative plan was executed, because a copy was older than the client allows, or than an event that has arrived. */
  readonly switched: boolean;
  readonly fetches: readonly FetchTrace[];
  readonly durationMs: number;
}

interface Explained extends Pick<Explanation, 'planning' | 'switched'> {
  readonly plan: () => Explanation['plan'];
  readonly traces: readonly FetchTrace[];
  /** When the request arrived, by `performance.now()`. */
  readonly started: number;
}

/** Describes how a result was produced. */
export function explain({ plan, planning, switched, traces, started }: Explained): Explanation {
  const fetches = traces.map((trace) => ({ ...trace, startMs: rounded(trace.startMs - started) }));
  const durationMs = rounded(performance.now() - started);
  return { plan: plan(), planning, switched, fetches, durationMs };
}

/** Describes a query plan as text and as JSON. */
export function describePlan(plan: QueryPlan): Explanation['plan'] {
  return { text: formatPlan(plan), json: plan };
}

/** What `extensions.freshness` says. */
export interface FreshnessReport {
  /** Whether the authoritative plan was executed, because a copy was older than the client allows, or than an event that has arrived. */
  readonly switched: boolean;
  readonly sources: readonly {
    readonly subgraph: string;
    readonly cache: 'hit' | 'miss' | 'partial';
    /** How long ago, in milliseconds, the oldest part that came from the cache was read. */
    readonly ageMs: number;
    /** How long ago, in milliseconds, each copy that the subgraph has last caught up with its owner. */
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

import { performance } from 'node:perf_hooks';
import { prettyFormatQueryPlan, type QueryPlan } from '@apollo/query-planner';

/** One request to a subgraph, as the client is told of it who asks how his answer came about. */
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
  /** Size of the subgraph's answer. */
  readonly bytes: number;
  readonly errors: number;
}

/** What `extensions.explanation` says. */
export interface Explanation {
  readonly plan: { readonly text: string; readonly json: QueryPlan };
  /** Whether the operation had to be planned for this request, and how long that took. */
  readonly planning: { readonly cached: boolean; readonly durationMs: number };
  readonly fetches: readonly FetchTrace[];
  readonly durationMs: number;
}

/** @param started when the request came, as `performance.now()` says it */
export function explain(
  plan: QueryPlan,
  planning: Explanation['planning'],
  traces: readonly FetchTrace[],
  started: number,
): Explanation {
  const fetches = traces.map((trace) => ({ ...trace, startMs: rounded(trace.startMs - started) }));
  const durationMs = rounded(performance.now() - started);
  return { plan: { text: prettyFormatQueryPlan(plan), json: plan }, planning, fetches, durationMs };
}

/** To a hundredth of a millisecond. */
export function rounded(ms: number): number {
  return Math.round(ms * 100) / 100;
}

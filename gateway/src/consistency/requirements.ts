import { type Invalidations, type ReadPosition, writePositions } from '@tributary/consistency';
import { ApiError } from '@tributary/server';

/** What a request demands of everything that it reads, from copies and caches as from owners. */
export interface Requirements {
  /** At least the state that the client has seen or made: a position for each source; empty: any. */
  readonly positions: ReadonlyMap<string, number>;
  /** No older than this, in milliseconds; 0: from the owner only; infinite: any age. */
  readonly maxStalenessMs: number;
}

/** From which state a subgraph answered. */
export interface Observed {
  readonly subgraph: string;
  readonly positions: ReadonlyMap<string, ReadPosition>;
  readonly invalidations: Invalidations | undefined;
  /** When the request to the subgraph was sent, by `performance.now()`: what it says was so then or later. */
  readonly at: number;
}

export const NO_REQUIREMENTS: Requirements = { positions: new Map(), maxStalenessMs: Number.POSITIVE_INFINITY };

/** How much of a header an error message repeats. */
const MAX_SHOWN = 60;

/** Reads a bound such as `500ms` or `2s`; only `0` needs no unit. @throws ApiError BAD_USER_INPUT */
export function parseStaleness(text: string): number {
  const [match, value = '0', unit = 'ms'] = /^\s*(?:0|(\d{1,9}(?:\.\d+)?)\s*(ms|s|m))\s*$/.exec(text) ?? [];
  if (match === undefined) {
    const given = JSON.stringify(text.slice(0, MAX_SHOWN));
    const message = `"x-max-staleness" must be a duration such as 500ms, 2s or 0; got ${given}.`;
    throw new ApiError('BAD_USER_INPUT', message, { field: 'x-max-staleness' });
  }
  return Number(value) * ({ s: 1000, m: 60_000 }[unit] ?? 1);
}

/** The later of two states, source by source. */
export function latest(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): Map<string, number> {
  const both = new Map(a);
  for (const [source, position] of b) both.set(source, Math.max(position, both.get(source) ?? 0));
  return both;
}

/** As subgraphs are told. */
export function minPositionsHeader(positions: ReadonlyMap<string, number>): string {
  return writePositions(new Map([...positions].map(([source, position]) => [source, { position, ageMs: null }])));
}

/** The same, and no staler than a bound. */
export function stricter({ positions, maxStalenessMs }: Requirements, bound: number): Requirements {
  return { positions, maxStalenessMs: Math.min(maxStalenessMs, bound) };
}

/**
 * Whether every copy that was read from is as far, and was in sync as lately, as the reader demands.
 *
 * @param startedAt when the request came, by `performance.now()`. A subgraph that was asked after that said how old its copy was at a
 *   moment after that; one that had been asked before, for another request, may have said so before: its copy was older when this one came.
 */
export function isFreshEnough(
  observed: readonly Observed[],
  { positions: wanted, maxStalenessMs }: Requirements,
  startedAt: number,
): boolean {
  return observed.every(({ positions, at }) =>
    [...positions].every(([source, { position, ageMs }]) => {
      if (ageMs === null) return true;
      return position >= (wanted.get(source) ?? 0) && ageMs + Math.max(0, startedAt - at) <= maxStalenessMs;
    }),
  );
}

/** The state that has all in it that subgraphs said. */
export function reached(observed: readonly Observed[]): Map<string, number> {
  return observed.reduce(
    (state, { positions }) =>
      latest(state, new Map([...positions].map(([source, { position }]) => [source, position]))),
    new Map<string, number>(),
  );
}

import { type Invalidations, type ReadPosition, writePositions } from '@tributary/consistency';
import { ApiError } from '@tributary/server';

/** What a request requires of everything that it reads: from owners, copies and the cache. */
export interface Requirements {
  /** The positions that the client has seen, by source: data must not be older. Empty: no such requirement. */
  readonly positions: ReadonlyMap<string, number>;
  /** Greatest age of copied or cached data, in milliseconds; 0: only from the owner; infinite: any age. */
  readonly maxStalenessMs: number;
}

/** The positions that a subgraph reported with a result. */
export interface Observed {
  readonly subgraph: string;
  readonly positions: ReadonlyMap<string, ReadPosition>;
  readonly invalidations: Invalidations | undefined;
  /** When the request to the subgraph was sent, by the monotonic clock: the positions are from then or later. */
  readonly at: number;
}

export const NO_REQUIREMENTS: Requirements = { positions: new Map(), maxStalenessMs: Number.POSITIVE_INFINITY };

/** Longest part of a header that an error message quotes. */
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

/** Merges two sets of positions: the greater one of each source. */
export function latest(a: ReadonlyMap<string, number>, b: ReadonlyMap<string, number>): Map<string, number> {
  const both = new Map(a);
  for (const [source, position] of b) both.set(source, Math.max(position, both.get(source) ?? 0));
  return both;
}

/** Writes required positions as a header for subgraphs. */
export function minPositionsHeader(positions: ReadonlyMap<string, number>): string {
  return writePositions(new Map([...positions].map(([source, position]) => [source, { position, ageMs: null }])));
}

/** Adds a bound on staleness to requirements. */
export function stricter({ positions, maxStalenessMs }: Requirements, bound: number): Requirements {
  return { positions, maxStalenessMs: Math.min(maxStalenessMs, bound) };
}

/**
 * Whether every copy that subgraphs read from had the required position, and was in sync recently enough.
 *
 * @param startedAt when the request came, by the monotonic clock. A fetch that was joined may have been sent before; the age that it
 *   reports is then older by that time.
 */
export function isFreshEnough(
  observed: readonly Observed[],
  { positions: required, maxStalenessMs }: Requirements,
  startedAt: number,
): boolean {
  return observed.every(({ positions, at }) =>
    [...positions].every(([source, { position, ageMs }]) => {
      if (ageMs === null) return true;
      return position >= (required.get(source) ?? 0) && ageMs + Math.max(0, startedAt - at) <= maxStalenessMs;
    }),
  );
}

/** The greatest positions that subgraphs reported, by source. */
export function reached(observed: readonly Observed[]): Map<string, number> {
  return observed.reduce(
    (state, { positions }) =>
      latest(state, new Map([...positions].map(([source, { position }]) => [source, position]))),
    new Map<string, number>(),
  );
}

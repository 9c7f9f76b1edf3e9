import type { EndPosition, LoggedEvent } from '@tributary/bus';

/** What a former leader sent, or a failed attempt, may reach the bus this much later; longer than publishing waits for an answer. */
export const LATE_MS = 6000;

/** One term of a relay's lead. */
export interface Lead {
  readonly term: number;
  /** By the monotonic clock: no other relay leads before. */
  until: number;
  /** The last position assigned. */
  endPosition: number;
  /** The last position published. */
  published: number;
  /** The last position whose invalidations were sent. */
  invalidated: number;
  /** Whatever was committed before `at` has a position up to `position`. */
  complete: EndPosition;
  /** The invalidations of everything committed before this time were sent; milliseconds since 1970. */
  invalidatedAt: number;
  /** When the end position was last announced, by the monotonic clock. */
  announcedAt: number;
  /** By the monotonic clock: what is purged before may reach the bus again, and is purged once more then. */
  settledAt: number;
  /** Aggregates whose personal data the bus may still have, by type and id, with the event that erased it. */
  readonly purges: Map<string, LoggedEvent>;
}

/** @param published the last position that is noted as published @param now by the monotonic clock */
export function beginLead(term: number, published: number, now: number): Lead {
  return {
    term,
    until: 0,
    endPosition: 0,
    published,
    invalidated: published,
    complete: { position: 0, at: 0 },
    invalidatedAt: 0,
    announcedAt: 0,
    settledAt: now + LATE_MS,
    purges: new Map(),
  };
}

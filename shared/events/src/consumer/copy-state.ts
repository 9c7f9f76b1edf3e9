import { type EndPosition, SenderClock } from '@tributary/bus';
import { type Clock, systemTime } from '@tributary/server';
import type { StoredCopyState } from './positions.js';

/** An end position that is older says nothing about the present: the owner or the bus is down. */
const END_POSITION_VALID_MS = 3000;
/** How many end positions beyond the copy's position are stored; after that, the newest replaces the one before it. */
const MAX_END_POSITIONS_AHEAD = 64;
/** The age of a copy that has never been in sync. */
const UNKNOWN_AGE_MS = 999_999_999_999;

/** How fresh a copy is. */
export interface Freshness {
  /** The last event that took effect. */
  readonly position: number;
  /** The last known end position of the owner's event log. */
  readonly head: number;
  /** For how long, in seconds, the copy may have been behind its owner; 0 when it is in sync. */
  readonly lagSeconds: number;
  /** The copy has everything that its owner had committed this many milliseconds ago; UNKNOWN_AGE_MS when it was never in sync. */
  readonly ageMs: number;
  /** Whether the copy was ever in sync with its owner, in this process or in an earlier one. Until then it may have holes. */
  readonly everInSync: boolean;
  /** Why answers from the copy may be old; null while it follows its owner. */
  readonly problem: string | null;
}

/** How far a copy is, and as of when it was last in sync with its owner. Times are readings of the monotonic clock. */
export class CopyState {
  /** The last event that took effect. */
  position = 0;
  /** The last known end position of the owner's event log. */
  endPosition = 0;
  /** The copy has everything that its owner had committed at this time; null when there is no such time. */
  inSyncAt: number | null = null;
  /** Whether the copy was ever in sync, in this process or in an earlier one. */
  everInSync = false;
  /** Whether what an earlier process noted was read. */
  recalled = false;
  /** Whether this process has seen it in sync. */
  confirmed = false;
  readonly #clock: Clock;
  readonly #startedAt: number;
  #ownerClock: SenderClock;
  /** The term of the owner's relay that announced the last end position. */
  #term: number | undefined;
  /** End positions beyond the copy's position, in order: when they are reached, it is in sync as of their time. */
  readonly #endPositionsAhead: EndPosition[] = [];

  constructor(clock: Clock = systemTime) {
    this.#clock = clock;
    this.#startedAt = clock.monotonic();
    this.#ownerClock = new SenderClock(clock);
  }

  /** By how much the owner's clock is ahead of this process's clock; see SenderClock. */
  get ownerClockOffsetMs(): number | null {
    return this.#ownerClock.offsetMs;
  }

  /** The owner announced how far its log goes. */
  onEndPosition({ position, at, term }: EndPosition): void {
    this.sawEndPosition(position);
    // A new leader's clock may be another one, or the same after it was set right.
    if (term !== this.#term) this.#ownerClock = new SenderClock(this.#clock);
    this.#term = term;
    if (at <= 0) return;
    // The time at which the owner read it, not the time of arrival: more may have been committed in between.
    this.#endPositionsAhead.splice(MAX_END_POSITIONS_AHEAD - 1);
    this.#endPositionsAhead.push({ position, at: this.#ownerClock.toLocal(at) });
    this.#noteEndPositionsReached();
  }

  /** The owner's log goes at least as far. */
  sawEndPosition(position: number): void {
    this.endPosition = Math.max(this.endPosition, position);
  }

  moveTo(position: number): void {
    // The position was set back: the copy is older again, by an unknown time.
    if (position < this.position) this.inSyncAt = null;
    this.position = position;
    this.#noteEndPositionsReached();
  }

  /** What an earlier process noted. */
  recall({ position, everInSync, inSyncAt }: StoredCopyState): void {
    this.recalled = true;
    this.everInSync ||= everInSync;
    this.moveTo(position);
    this.inSyncAt ??= inSyncAt;
  }

  inSyncAsOf(at: number): void {
    this.everInSync = true;
    this.confirmed = true;
    this.inSyncAt = Math.max(this.inSyncAt ?? at, at);
  }

  /** Milliseconds since the copy was last in sync; since the start when it never was. */
  get unconfirmedMs(): number {
    return this.#clock.monotonic() - (this.inSyncAt ?? this.#startedAt);
  }

  /** How fresh the copy is. @param problem why it may be old */
  freshness(problem: string | null): Freshness {
    const { position, endPosition, inSyncAt, everInSync, unconfirmedMs } = this;
    const isInSync = inSyncAt !== null && position >= endPosition && unconfirmedMs < END_POSITION_VALID_MS;
    return {
      position,
      head: endPosition,
      lagSeconds: isInSync ? 0 : unconfirmedMs / 1000,
      ageMs: inSyncAt === null ? UNKNOWN_AGE_MS : Math.ceil(unconfirmedMs),
      everInSync,
      problem,
    };
  }

  /** How old answers from the copy are, in words. */
  describeAge(source: string): string {
    if (!this.recalled) return `it is not known how fresh the copy of ${source} is: the database has not been read yet`;
    if (!this.everInSync) return `has not been in sync with ${source} yet; ${this.position} events are applied`;
    if (this.inSyncAt === null) return `it is not known as of when answers show ${source}`;
    const time = new Date(this.#clock.now() - this.unconfirmedMs).toISOString();
    return `has not reached ${source} for ${Math.round(this.unconfirmedMs / 1000)} s; answers show it as of ${time}`;
  }

  #noteEndPositionsReached(): void {
    for (
      let reached = this.#endPositionsAhead[0];
      reached && reached.position <= this.position;
      reached = this.#endPositionsAhead[0]
    ) {
      this.inSyncAsOf(reached.at);
      this.#endPositionsAhead.shift();
    }
  }
}

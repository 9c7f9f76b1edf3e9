import { type Clock, systemTime } from '@tributary/server';

/** `Clock.now()` may have whole milliseconds: the difference of two readings is less than this too small. */
const RESOLUTION_MS = 1;
/** How long the quickest message is remembered; after that the sender's clock may have been set right. */
const MEMORY_MS = 60_000;
/** This many messages in a row that all look late are evidence that the sender's clock is behind: about ten seconds of a relay's announcements. */
const EVIDENCE = 40;

/**
 * Translates the timestamps of one sender into readings of this process's monotonic clock.
 *
 * The result is never later than the moment that the sender meant, as far as messages can show: a timestamp from the future proves that
 * the sender's clock is ahead by at least that much, which is subtracted from later timestamps, too. A sender's clock that is
 * behind makes its messages look older than they are.
 */
export class SenderClock {
  /** The shortest time that a message seems to have taken, in this period and in the one before: below 0 when the sender's clock is ahead. */
  #quickest = Number.POSITIVE_INFINITY;
  #quickestBefore = Number.POSITIVE_INFINITY;
  #messages = 0;
  #messagesBefore = 0;
  #periodEndsAt = 0;
  readonly #clock: Clock;

  constructor(clock: Clock = systemTime) {
    this.#clock = clock;
  }

  /** @param at milliseconds since 1970 by the sender's clock @returns the same moment by the monotonic clock */
  toLocal(at: number): number {
    const now = this.#clock.monotonic();
    this.#beginPeriod(now);
    const apparentDelay = this.#clock.now() - at;
    this.#quickest = Math.min(this.#quickest, apparentDelay);
    this.#messages += 1;
    const ahead = Math.max(0, -Math.min(this.#quickest, this.#quickestBefore));
    return now - (apparentDelay + ahead + RESOLUTION_MS);
  }

  /**
   * By how many milliseconds the sender's clock is ahead of this process's clock. Below 0 it is behind, or each of its messages was
   * late by so much: from here the two look the same. Null until enough messages have arrived.
   */
  get offsetMs(): number | null {
    this.#beginPeriod(this.#clock.monotonic());
    const quickest = Math.min(this.#quickest, this.#quickestBefore);
    return quickest < 0 || this.#messages + this.#messagesBefore >= EVIDENCE ? -quickest : null;
  }

  #beginPeriod(now: number): void {
    if (now < this.#periodEndsAt) return;
    this.#quickestBefore = this.#quickest;
    this.#messagesBefore = this.#messages;
    this.#quickest = Number.POSITIVE_INFINITY;
    this.#messages = 0;
    this.#periodEndsAt = now + MEMORY_MS;
  }
}

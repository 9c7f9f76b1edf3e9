import { performance } from 'node:perf_hooks';

/** `Date.now()` has whole milliseconds: the difference of two readings is less than this too small. */
const RESOLUTION_MS = 1;
/** How long it is remembered that a sender's clock was ahead; after that it may have been set right. */
const MEMORY_MS = 60_000;

/**
 * Translates the timestamps of one sender into readings of this process's monotonic clock.
 *
 * The result is never later than the moment that the sender meant, as far as messages can show: a timestamp from the future proves that
 * the sender's clock is ahead by at least that much, which is subtracted from later timestamps, too. A sender's clock that is
 * behind makes its messages look older than they are.
 */
export class SenderClock {
  /** By how many milliseconds the sender's clock was seen to be ahead, in this period and in the one before. */
  #ahead = 0;
  #aheadBefore = 0;
  #periodEndsAt = 0;

  /** @param at milliseconds since 1970 by the sender's clock @returns the same moment by `performance.now()` */
  toLocal(at: number): number {
    const now = performance.now();
    if (now >= this.#periodEndsAt) {
      this.#aheadBefore = this.#ahead;
      this.#ahead = 0;
      this.#periodEndsAt = now + MEMORY_MS;
    }
    const apparentDelay = Date.now() - at;
    this.#ahead = Math.max(this.#ahead, -apparentDelay);
    return now - (apparentDelay + Math.max(this.#ahead, this.#aheadBefore) + RESOLUTION_MS);
  }
}

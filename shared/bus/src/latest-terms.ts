import { type Clock, systemTime } from '@tributary/server';

/**
 * A term without messages for this long no longer counts. A relay that leads sends four times a second; when an owner's database is
 * restored from a backup, terms begin again at a lower number.
 */
const FORGOTTEN_AFTER_MS = 10_000;

/** The latest term of each source's relay. Messages of an earlier term, which a former leader still sends, are rejected. */
export class LatestTerms {
  readonly #latest = new Map<string, { term: number; receivedAt: number }>();
  readonly #clock: Clock;

  constructor(clock: Clock = systemTime) {
    this.#clock = clock;
  }

  /** @param term undefined for a sender without terms, which is always accepted */
  accepts(source: string, term: number | undefined): boolean {
    if (term === undefined) return true;
    const latest = this.#latest.get(source);
    const now = this.#clock.monotonic();
    if (latest && term < latest.term && now - latest.receivedAt < FORGOTTEN_AFTER_MS) return false;
    this.#latest.set(source, { term, receivedAt: now });
    return true;
  }
}

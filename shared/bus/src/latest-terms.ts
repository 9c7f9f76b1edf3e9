import { performance } from 'node:perf_hooks';

/**
 * A term that was silent for so long no longer counts. A relay that leads sends four times a second; when an owner's database is
 * restored from a backup, terms begin again at a lower number.
 */
const FORGOTTEN_AFTER_MS = 10_000;

/** The latest term heard of each source: what an earlier relay still sends, after another took over, is not for anyone. */
export class LatestTerms {
  readonly #latest = new Map<string, { term: number; heardAt: number }>();

  /** @param term undefined for a sender that has none, which is always accepted */
  accepts(source: string, term: number | undefined): boolean {
    if (term === undefined) return true;
    const latest = this.#latest.get(source);
    const now = performance.now();
    if (latest && term < latest.term && now - latest.heardAt < FORGOTTEN_AFTER_MS) return false;
    this.#latest.set(source, { term, heardAt: now });
    return true;
  }
}

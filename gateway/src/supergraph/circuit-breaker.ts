const LONGEST_BREAK_MS = 10_000;

/** What a request was allowed by: its outcome counts only in the period in which it began. */
export interface Permit {
  readonly period: number;
}

/**
 * Keeps requests from a service that does not answer: after so many failures in a row they fail at once for a while; then one is let
 * through, and its outcome says whether the others may follow. Each break that follows another is twice as long.
 */
export class CircuitBreaker {
  readonly #threshold: number;
  readonly #firstBreakMs: number;
  readonly #now: () => number;
  #failures = 0;
  #breakMs: number;
  #openUntil = 0;
  #trying = false;
  /** Counts the times that it opened and closed: requests from before say nothing of what is now. */
  #period = 0;

  /** @param threshold failures in a row; 0 never breaks */
  constructor(threshold: number, firstBreakMs: number, now: () => number) {
    this.#threshold = threshold;
    this.#firstBreakMs = firstBreakMs;
    this.#breakMs = firstBreakMs;
    this.#now = now;
  }

  get isOpen(): boolean {
    return this.#openUntil > 0;
  }

  /** Leave to send a request, which says afterwards how it went; null when it may not be sent. */
  allows(): Permit | null {
    if (this.#openUntil > 0) {
      if (this.#trying || this.#now() < this.#openUntil) return null;
      this.#trying = true;
    }
    return { period: this.#period };
  }

  succeeded({ period }: Permit): void {
    if (period !== this.#period) return;
    this.#failures = 0;
    this.#breakMs = this.#firstBreakMs;
    if (this.#openUntil > 0) this.#begin(0);
  }

  failed({ period }: Permit): void {
    if (period !== this.#period) return;
    this.#failures += 1;
    if (this.#threshold === 0 || (this.#openUntil === 0 && this.#failures < this.#threshold)) return;
    this.#begin(this.#now() + this.#breakMs);
    this.#breakMs = Math.min(this.#breakMs * 2, LONGEST_BREAK_MS);
  }

  /** The request ended without saying anything of the service: the client went. */
  ended({ period }: Permit): void {
    if (period === this.#period) this.#trying = false;
  }

  #begin(openUntil: number): void {
    this.#period += 1;
    this.#openUntil = openUntil;
    this.#trying = false;
  }
}

/** Breaks grow no longer than this, or than the first: a service that is back is asked again soon. */
const LONGEST_BREAK_MS = 3000;
/** Failures that are all within this time may be of one client's queries: they open nothing, and are not reported. */
const LASTING_MS = 1000;

/** What a request was allowed by: its outcome counts only in the period in which it began. */
export interface Permit {
  readonly period: number;
}

/**
 * Keeps requests from a service that does not answer: after so many failures in a row, which go on for a second, they fail at once. Only
 * probes are let through then, and a probe that succeeds lets the others follow. Each break that follows another is twice as long.
 */
export class CircuitBreaker {
  readonly #threshold: number;
  readonly #firstBreakMs: number;
  readonly #now: () => number;
  #failures = 0;
  /** When the first of them was. */
  #failingSince = 0;
  #breakMs: number;
  #nextBreakMs: number;
  #isOpen = false;
  /** Counts the times that it opened and closed: requests from before say nothing of what is now. */
  #period = 0;

  /** @param threshold failures in a row; 0 never breaks */
  constructor(threshold: number, firstBreakMs: number, now: () => number) {
    this.#threshold = threshold;
    this.#firstBreakMs = firstBreakMs;
    this.#breakMs = firstBreakMs;
    this.#nextBreakMs = firstBreakMs;
    this.#now = now;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** For how long it stays open until it is to be probed. */
  get breakMs(): number {
    return this.#breakMs;
  }

  /** Leave to send a request, which says afterwards how it went; null when it may not be sent. */
  allows(): Permit | null {
    return this.#isOpen ? null : this.probe();
  }

  /** Leave to send a request that no client waits for, also while it is open. */
  probe(): Permit {
    return { period: this.#period };
  }

  /** @returns whether that says how the service is now */
  succeeded({ period }: Permit): boolean {
    if (period !== this.#period) return false;
    this.#failures = 0;
    this.#nextBreakMs = this.#firstBreakMs;
    if (this.#isOpen) this.#turn(false);
    return true;
  }

  /** @returns whether nothing but failures was seen for a second */
  failed({ period }: Permit): boolean {
    if (period !== this.#period) return false;
    const now = this.#now();
    if (this.#failures === 0) this.#failingSince = now;
    this.#failures += 1;
    const lasts = now - this.#failingSince >= LASTING_MS;
    const opens = !this.#isOpen && lasts && this.#threshold > 0 && this.#failures >= this.#threshold;
    if (opens) this.#turn(true);
    if (this.#isOpen) {
      this.#breakMs = this.#nextBreakMs;
      this.#nextBreakMs = Math.min(this.#breakMs * 2, Math.max(LONGEST_BREAK_MS, this.#firstBreakMs));
    }
    return lasts;
  }

  #turn(isOpen: boolean): void {
    this.#period += 1;
    this.#isOpen = isOpen;
  }
}

/** Longest time until the next probe, unless the first is longer: a service that recovered is used again soon. */
const LONGEST_BREAK_MS = 3000;
/** Failures within less than this time may come from one client's queries: they neither open the circuit nor are reported. */
const LASTING_MS = 1000;

/** Admits one request; its outcome counts only in the period in which it began. */
export interface Permit {
  readonly period: number;
}

/**
 * Suspends requests to a service that fails: it opens after a number of consecutive failures that last for a second. While it is open, only
 * probes are sent; the first one that succeeds closes it. Each further failed probe doubles the time until the next.
 */
export class CircuitBreaker {
  readonly #threshold: number;
  readonly #firstBreakMs: number;
  readonly #now: () => number;
  #failures = 0;
  /** When the first of these failures happened. */
  #failingSince = 0;
  #breakMs: number;
  #nextBreakMs: number;
  #isOpen = false;
  /** Counts openings and closings: outcomes of requests from an earlier period do not count. */
  #period = 0;

  /** @param threshold consecutive failures that open it; 0: it never opens */
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

  /** Time until the next probe while it is open. */
  get breakMs(): number {
    return this.#breakMs;
  }

  /** A permit for a request, whose outcome is reported with it; null while requests are suspended. */
  allows(): Permit | null {
    return this.#isOpen ? null : this.probe();
  }

  /** A permit for a probe, also while it is open. */
  probe(): Permit {
    return { period: this.#period };
  }

  /** Reports a success. @returns whether it counts */
  succeeded({ period }: Permit): boolean {
    if (period !== this.#period) return false;
    this.#failures = 0;
    this.#nextBreakMs = this.#firstBreakMs;
    if (this.#isOpen) this.#turn(false);
    return true;
  }

  /** Reports a failure. @returns whether there were only failures for a second */
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

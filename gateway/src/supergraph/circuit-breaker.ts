const LONGEST_BREAK_MS = 10_000;

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

  /** Whether a request may be sent; who sends it says afterwards how it went. */
  allows(): boolean {
    if (this.#openUntil === 0) return true;
    if (this.#trying || this.#now() < this.#openUntil) return false;
    this.#trying = true;
    return true;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#openUntil = 0;
    this.#trying = false;
    this.#breakMs = this.#firstBreakMs;
  }

  failed(): void {
    this.#failures += 1;
    const tried = this.#trying;
    this.#trying = false;
    if (this.#threshold === 0 || (this.#openUntil === 0 && this.#failures < this.#threshold)) return;
    // Requests that were under way when it opened say nothing new.
    if (this.#openUntil > 0 && !tried) return;
    this.#openUntil = this.#now() + this.#breakMs;
    this.#breakMs = Math.min(this.#breakMs * 2, LONGEST_BREAK_MS);
  }

  /** The request ended without saying anything of the service: the client went. */
  ended(): void {
    this.#trying = false;
  }
}

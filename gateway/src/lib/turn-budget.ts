interface Waiting {
  readonly cost: number;
  readonly proceed: () => void;
}

/** Bounds the work that is done at once in one turn of the event loop. What exceeds it waits for a later turn, in order. */
export class TurnBudget {
  readonly #limit: number;
  readonly #waiting: Waiting[] = [];
  #used = 0;
  #isScheduled = false;

  /** @param limit the work of one turn, in any unit; more than any single work takes */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Whether work can be done in this turn; then it is counted. */
  take(cost: number): boolean {
    if (this.#waiting.length > 0 || this.#used + cost > this.#limit) return false;
    this.#count(cost);
    return true;
  }

  /** Resolves in the turn in which work can be done; then it is counted. */
  wait(cost: number): Promise<void> {
    return new Promise((proceed) => {
      this.#waiting.push({ cost, proceed });
      this.#schedule();
    });
  }

  #count(cost: number): void {
    this.#used += cost;
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#startTurn());
  }

  #startTurn(): void {
    this.#isScheduled = false;
    this.#used = 0;
    let count = 0;
    for (const { cost, proceed } of this.#waiting) {
      if (this.#used + cost > this.#limit) break;
      this.#count(cost);
      proceed();
      count += 1;
    }
    this.#waiting.splice(0, count);
    if (this.#waiting.length > 0) this.#schedule();
  }
}

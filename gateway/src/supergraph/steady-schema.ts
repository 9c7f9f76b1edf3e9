/** For how long a schema that was served before must be the only one that is seen, until it is served again. */
const FIRST_PAUSE_MS = 15_000;
/** The first pause is no longer than this, however seldom it is polled. */
const LONGEST_FIRST_PAUSE_MS = 60_000;
const LONGEST_PAUSE_MS = 600_000;
/** At the least so many polls see it. */
const MIN_POLLS = 3;
/** How many schemas that were replaced are remembered. */
const REMEMBERED = 10;

/**
 * Chooses which schema of one subgraph is served while two releases behind one address answer in turn. A schema that was not served before
 * is served at once. One that was, and was replaced, is served again when no other was seen for a while; each return doubles that
 * while.
 */
export class SteadySchema {
  readonly #pollIntervalMs: number;
  readonly #now: () => number;
  readonly #replaced = new Set<string>();
  #served: string | null = null;
  #returning: { readonly schema: string; readonly since: number } | null = null;
  #pauseMs: number;
  #heldAt = Number.NEGATIVE_INFINITY;
  /** How often a schema that was replaced came back lately. */
  #returns = 0;

  constructor(pollIntervalMs: number, now: () => number) {
    this.#pollIntervalMs = pollIntervalMs;
    this.#pauseMs = this.#firstPauseMs;
    this.#now = now;
  }

  /** Whether a schema that was replaced is seen again and again, and not served. Once alone, a release was taken back. */
  get alternates(): boolean {
    return this.#isUnsteady && this.#returns > 1;
  }

  /** Whether a schema that was replaced is seen now, and not served yet. */
  get holds(): boolean {
    return this.#returning !== null;
  }

  get #isUnsteady(): boolean {
    return this.#now() - this.#heldAt < 2 * Math.max(this.#pauseMs, this.#pollIntervalMs);
  }

  /** @param seen what the subgraph answered now @returns the schema to serve */
  choose(seen: string): string {
    const now = this.#now();
    if (!this.#isUnsteady) {
      this.#pauseMs = this.#firstPauseMs;
      this.#returns = 0;
    }
    if (this.#served === null || seen === this.#served || !this.#replaced.has(seen)) {
      this.#returning = null;
      return seen;
    }
    if (this.#returning?.schema !== seen) {
      this.#returning = { schema: seen, since: now };
      this.#returns += 1;
    }
    if (now - this.#returning.since >= this.#pauseMs) return seen;
    this.#heldAt = now;
    return this.#served;
  }

  /** Notes that a schema is served from now on. */
  serve(schema: string): void {
    if (schema === this.#served) return;
    if (this.#replaced.delete(schema)) this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    if (this.#served !== null) this.#replaced.add(this.#served);
    const [oldest] = this.#replaced;
    if (this.#replaced.size > REMEMBERED && oldest !== undefined) this.#replaced.delete(oldest);
    this.#served = schema;
    this.#returning = null;
  }

  get #firstPauseMs(): number {
    return Math.min(Math.max(FIRST_PAUSE_MS, MIN_POLLS * this.#pollIntervalMs), LONGEST_FIRST_PAUSE_MS);
  }
}

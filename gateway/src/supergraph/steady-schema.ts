/** How long a schema that was replaced must be the only one seen before it is served again. */
const FIRST_PAUSE_MS = 15_000;
/** Longest first pause, however long the poll interval is. */
const LONGEST_FIRST_PAUSE_MS = 60_000;
const LONGEST_PAUSE_MS = 600_000;
/** Polls that must see it, at least. */
const MIN_POLLS = 3;
/** Replaced schemas that are remembered. */
const REMEMBERED = 10;

/**
 * Chooses which schema of a subgraph is served while two releases behind one address respond in turn. A new schema is served at once. A schema
 * that was replaced is served again when no other one was seen for a while; each return doubles that time.
 */
export class SteadySchema {
  readonly #pollIntervalMs: number;
  readonly #now: () => number;
  readonly #replaced = new Set<string>();
  #served: string | null = null;
  #returning: { readonly schema: string; readonly since: number } | null = null;
  #pauseMs: number;
  #heldAt = Number.NEGATIVE_INFINITY;
  /** Recent returns of schemas that were replaced. */
  #returns = 0;

  constructor(pollIntervalMs: number, now: () => number) {
    this.#pollIntervalMs = pollIntervalMs;
    this.#pauseMs = this.#firstPauseMs;
    this.#now = now;
  }

  /** Whether replaced schemas return repeatedly. A single return is a rollback. */
  get alternates(): boolean {
    return this.#isUnsteady && this.#returns > 1;
  }

  /** Whether the newest schema seen is a replaced one that is not served yet. */
  get holds(): boolean {
    return this.#returning !== null;
  }

  get #isUnsteady(): boolean {
    return this.#now() - this.#heldAt < 2 * Math.max(this.#pauseMs, this.#pollIntervalMs);
  }

  /** @param seen the schema that the subgraph responded with now @returns the schema to serve */
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

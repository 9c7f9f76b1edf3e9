import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';

const INTERVAL_MS = 30_000;
/** After a comparison that failed. */
const RETRY_MS = 2000;

/** Compares the database's clock with this process's clock every 30 s. */
export class DatabaseClock {
  readonly #stopped = new AbortController();
  #offsetMs: number | null = null;

  constructor(db: Kysely<unknown>) {
    // It cannot reject.
    void this.#follow(db);
  }

  /** By how many milliseconds the database's clock is ahead, at least; negative: behind; null while that is unknown. */
  get offsetMs(): number | null {
    return this.#offsetMs;
  }

  stop(): void {
    this.#stopped.abort();
  }

  async #follow(db: Kysely<unknown>): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      // While the database does not answer, the offset is unknown.
      this.#offsetMs = await compareTwice(db).catch(() => null);
      const pauseMs = this.#offsetMs === null ? RETRY_MS : INTERVAL_MS;
      await sleep(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}

/** The first query may have to open a connection, and takes long. */
async function compareTwice(db: Kysely<unknown>): Promise<number> {
  await compare(db);
  return compare(db);
}

/** @returns the offset that the round trip proves: what its duration may explain is no difference */
async function compare(db: Kysely<unknown>): Promise<number> {
  const askedAt = Date.now();
  const startedAt = performance.now();
  const { rows } = await sql<{ now: number }>`
    select (extract(epoch from clock_timestamp()) * 1000)::double precision as now
  `.execute(db);
  const answeredAt = askedAt + (performance.now() - startedAt);
  const now = rows[0]?.now ?? askedAt;
  if (now > answeredAt) return now - answeredAt;
  return now < askedAt ? now - askedAt : 0;
}

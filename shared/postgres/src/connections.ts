import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { DatabaseAwayError, isReadTimeout, unlessAborted } from '@tributary/server';
import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import type pg from 'pg';

/** A connection that was idle for longer is checked before a statement is sent on it. */
const CHECK_AFTER_IDLE_MS = 2000;
const CHECK_TIMEOUT_MS = 2000;
/** How long running statements may take when the pool is closed. */
const END_TIMEOUT_MS = 3000;

/**
 * A pool that hands out only connections that answer. A connection may be lost silently (a firewall or load balancer drops it, or the
 * host is gone): nothing that is sent on it arrives. A connection that does not answer in time is destroyed, and so are all
 * that have been silent since before the check, because they probably use the same route. So one time-out repairs the pool.
 */
export class CheckedPool implements PostgresPool {
  readonly #pool: pg.Pool;
  readonly #onSilence: (error: Error) => void;
  readonly #onAway: (error: DatabaseAwayError) => void;
  readonly #clients = new Set<pg.PoolClient>();
  /** When each connection last answered; all times are by `performance.now()`. */
  readonly #answeredAt = new WeakMap<pg.PoolClient, number>();
  /** A connection that has not answered since is not handed out again. */
  #distrustedUntil = 0;
  #lastAnswerAt = Number.NEGATIVE_INFINITY;

  /**
   * @param onSilence called for each connection that did not answer
   * @param onAway called whenever no connection can be opened
   */
  constructor(pool: pg.Pool, onSilence: (error: Error) => void, onAway: (error: DatabaseAwayError) => void) {
    this.#pool = pool;
    this.#onSilence = onSilence;
    this.#onAway = onAway;
    pool.on('connect', (client) => {
      this.#clients.add(client);
      this.noteAnswer(client);
    });
    pool.on('remove', (client) => this.#clients.delete(client as pg.PoolClient));
  }

  /** @throws DatabaseAwayError when there is no connection, and the database has not answered on another one meanwhile */
  async connect(): Promise<PostgresPoolClient> {
    const askedAt = performance.now();
    try {
      return new CheckedClient(await this.#takeAnswering(CHECK_AFTER_IDLE_MS, CHECK_TIMEOUT_MS), this);
    } catch (error) {
      if (this.#lastAnswerAt > askedAt || this.#pool.ending) throw error;
      const away = new DatabaseAwayError(error as Error);
      this.#onAway(away);
      throw away;
    }
  }

  /**
   * Resolves when the database has answered just now, or answers within `timeoutMs`. Does not wait for a free connection longer than that.
   *
   * @throws when it does not
   */
  async ping(timeoutMs: number): Promise<void> {
    if (performance.now() - this.#lastAnswerAt < timeoutMs / 2) return;
    const timeout = AbortSignal.timeout(timeoutMs);
    // Half of the time is for a new connection, when the first one is silent.
    const pinging = this.#takeAnswering(0, timeoutMs / 2).then((client) => client.release());
    try {
      await unlessAborted(pinging, timeout);
    } catch (error) {
      if (!timeout.aborted) throw error;
      throw new Error(`The database did not answer within ${timeoutMs / 1000} s.`);
    }
  }

  /** Waits for running statements, at most 3 s; then closes their connections. */
  async end(): Promise<void> {
    try {
      await unlessAborted(this.#pool.end(), AbortSignal.timeout(END_TIMEOUT_MS));
    } catch {
      for (const client of this.#clients) destroySocket(client);
    }
  }

  noteAnswer(client: pg.PoolClient): void {
    this.#lastAnswerAt = performance.now();
    this.#answeredAt.set(client, this.#lastAnswerAt);
  }

  /** @param askedAt when the statement was sent that was not answered */
  noteSilence(client: pg.PoolClient, askedAt: number): void {
    this.#distrustedUntil = Math.max(this.#distrustedUntil, askedAt);
    // While a statement runs, this closes the socket at once, and the pool drops the connection when it is released.
    client.end().catch(() => undefined);
    this.#onSilence(new Error('a database connection no longer answers'));
  }

  /** Each turn takes one connection out of the pool, so it comes to an end: a new one needs no check. */
  async #takeAnswering(checkAfterMs: number, checkTimeoutMs: number): Promise<pg.PoolClient> {
    for (;;) {
      const client = await this.#pool.connect();
      const answeredAt = this.#answeredAt.get(client) ?? 0;
      const idleMs = performance.now() - answeredAt;
      const trusted = answeredAt > this.#distrustedUntil;
      if (trusted && (idleMs < checkAfterMs || (await this.#answers(client, checkTimeoutMs)))) return client;
      client.release(true);
      destroySocket(client);
    }
  }

  async #answers(client: pg.PoolClient, timeoutMs: number): Promise<boolean> {
    const askedAt = performance.now();
    const asking = client.query('select 1').then(
      () => true,
      () => false,
    );
    const over = new AbortController();
    const answer = await Promise.race([asking, elapse(timeoutMs, over.signal)]);
    over.abort();
    if (answer === true) this.noteAnswer(client);
    else if (answer === undefined) this.noteSilence(client, askedAt);
    return answer === true;
  }
}

/** What arrived while this process itself was held up counts as in time: it is read before this resolves. */
async function elapse(ms: number, signal: AbortSignal): Promise<undefined> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
  await setImmediate();
}

class CheckedClient implements PostgresPoolClient {
  readonly #client: pg.PoolClient;
  readonly #pool: CheckedPool;

  constructor(client: pg.PoolClient, pool: CheckedPool) {
    this.#client = client;
    this.#pool = pool;
  }

  // Cursors are not used: this is all of Kysely's interface that is called.
  query = (async (sql: string, parameters: readonly unknown[]) => {
    const askedAt = performance.now();
    try {
      const result = await this.#client.query(sql, parameters as unknown[]);
      this.#pool.noteAnswer(this.#client);
      return result as PostgresQueryResult<unknown>;
    } catch (error) {
      if (isReadTimeout(error)) this.#pool.noteSilence(this.#client, askedAt);
      throw error;
    }
  }) as PostgresPoolClient['query'];

  release(): void {
    this.#client.release();
  }
}

/** Closes a connection's socket at once; an orderly end would wait for a server that may no longer answer. */
export function destroySocket(client: pg.ClientBase): void {
  // Not in the types; pg's pool does the same with a connection that cannot be opened in time.
  (client as unknown as { connection: { stream: Socket } }).connection.stream.destroy();
}

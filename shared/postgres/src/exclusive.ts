import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';

/** The server ends the connection, and with it the lock, when this process sends nothing on it for this time. */
const SILENCE_TIMEOUT_SECONDS = 60;
const SIGN_OF_LIFE_MS = 10_000;

/** Another process holds the lock for this work. */
export class AlreadyRunningError extends Error {
  override readonly name = 'AlreadyRunningError';
}

/**
 * Runs work under an advisory lock of the database, so that no other process does it at the same time. The lock has a connection
 * of its own and ends with it; when this process hangs, the server closes that connection after a minute.
 *
 * @param name what is done, for the lock and the message: `rebuild users_copy`
 * @param run given the connection that has the lock
 * @throws AlreadyRunningError when another process does it
 */
export async function exclusively<Tables, Result>(
  db: Kysely<Tables>,
  name: string,
  run: (connection: Kysely<Tables>) => Promise<Result>,
): Promise<Result> {
  return db.connection().execute(async (connection) => {
    const key = sql`hashtextextended(${name}, 0)`;
    const { rows } = await sql<{ locked: boolean }>`select pg_try_advisory_lock(${key}) as locked`.execute(connection);
    if (!rows[0]?.locked) throw new AlreadyRunningError(`"${name}" is running already; wait until it has ended.`);
    try {
      return await keepingAlive(connection, () => run(connection));
    } finally {
      await sql`select pg_advisory_unlock(${key})`.execute(connection);
    }
  });
}

/** Runs work while a connection gives signs of life; the server ends the connection when these are missing. */
async function keepingAlive<Tables, Result>(connection: Kysely<Tables>, run: () => Promise<Result>): Promise<Result> {
  const over = new AbortController();
  const { signal } = over;
  const giveSigns = async () => {
    while (!signal.aborted) {
      await sql`select 1`.execute(connection);
      await sleep(SIGN_OF_LIFE_MS, undefined, { signal }).catch(() => undefined);
    }
  };
  await sql`select set_config('idle_session_timeout', ${`${SILENCE_TIMEOUT_SECONDS}s`}, false)`.execute(connection);
  // When the connection is lost, the statement that releases the lock fails, too, and reports it.
  const signs = giveSigns().catch(() => undefined);
  try {
    return await run();
  } finally {
    over.abort();
    await signs;
    await sql`reset idle_session_timeout`.execute(connection);
  }
}

import { type Kysely, sql } from 'kysely';

/** Something that only one may do at a time is done by somebody else at the moment. */
export class AlreadyRunningError extends Error {
  override readonly name = 'AlreadyRunningError';
}

/**
 * Runs work that no other process may do at the same time, under an advisory lock of the database. The lock has a connection
 * of its own, and ends with it.
 *
 * @param name what is done, for the lock and the message: `rebuild users_copy`
 * @throws AlreadyRunningError when somebody else is at it
 */
export async function exclusively<Tables, Result>(
  db: Kysely<Tables>,
  name: string,
  run: () => Promise<Result>,
): Promise<Result> {
  return db.connection().execute(async (connection) => {
    const key = sql`hashtextextended(${name}, 0)`;
    const { rows } = await sql<{ locked: boolean }>`select pg_try_advisory_lock(${key}) as locked`.execute(connection);
    if (!rows[0]?.locked) throw new AlreadyRunningError(`"${name}" is running already; wait until it has ended.`);
    try {
      return await run();
    } finally {
      await sql`select pg_advisory_unlock(${key})`.execute(connection);
    }
  });
}

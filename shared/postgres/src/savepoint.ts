import { type Kysely, sql } from 'kysely';

/**
 * Does a part of a transaction: all of it, or (when it throws) nothing. Constraints that are deferred to the end of the transaction
 * are checked at the end of the part.
 */
export async function inSavepoint<Tables>(transaction: Kysely<Tables>, run: () => Promise<void>): Promise<void> {
  await sql`savepoint part`.execute(transaction);
  try {
    await run();
    await sql`set constraints all immediate`.execute(transaction);
    await sql`release savepoint part`.execute(transaction);
  } catch (error) {
    // On a connection that is lost, this fails as well; the cause is what counts.
    await sql`rollback to savepoint part; release savepoint part`.execute(transaction).catch(() => undefined);
    throw error;
  }
}

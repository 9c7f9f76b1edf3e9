import { type Kysely, sql } from 'kysely';

/** Data of another size was imported before; importing over it would mix the two. */
export class ImportConflictError extends Error {
  override readonly name = 'ImportConflictError';
}

/** A migration step: the table that remembers what was imported. */
export async function createImportsTable(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table imports (
      source text primary key,
      scale double precision not null,
      imported_at timestamptz not null default now()
    )
  `.execute(db);
}

/** The scale at which `source` was imported, or null when it was not. */
export async function importedScale(db: Kysely<never>, source: string): Promise<number | null> {
  const { rows } = await sql<{ scale: number }>`select scale from imports where source = ${source}`.execute(db);
  return rows[0]?.scale ?? null;
}

/**
 * Runs `load` in one transaction, once per database: a second call does nothing, a call that was cut off leaves nothing.
 *
 * @returns whether `load` was run now
 * @throws ImportConflictError when the source was imported at another scale
 */
export async function importOnce<Tables>(
  db: Kysely<Tables>,
  source: string,
  scale: number,
  load: (transaction: Kysely<Tables>) => Promise<void>,
): Promise<boolean> {
  return db.transaction().execute(async (transaction) => {
    // Two processes that start at once: the second waits here, then finds the work done.
    await sql`lock table imports in share row exclusive mode`.execute(transaction);
    const before = await importedScale(transaction as unknown as Kysely<never>, source);
    if (before === scale) return false;
    if (before !== null) {
      throw new ImportConflictError(
        `This database has ${source} at scale ${before}; expected ${scale}. Start with an empty database to change it.`,
      );
    }
    await load(transaction);
    await sql`insert into imports (source, scale) values (${source}, ${scale})`.execute(transaction);
    return true;
  });
}

import { type Kysely, type Migration, Migrator } from 'kysely';

/** Migrations by name; they run in the alphabetical order of their names, each once. */
export type Migrations = Record<string, Migration>;

/**
 * Brings a database to the newest schema. Safe to call from several processes at once (it takes a lock).
 *
 * @returns the names of the migrations that were run now
 */
export async function migrate(db: Kysely<never>, migrations: Migrations): Promise<string[]> {
  const migrator = new Migrator({ db, provider: { getMigrations: async () => migrations } });
  const { error, results } = await migrator.migrateToLatest();
  if (error) {
    const failed = results?.find((result) => result.status === 'Error')?.migrationName;
    // It failed before the first one: no connection, or a database that is of a newer program.
    if (failed === undefined) throw error;
    throw new Error(`Migration ${failed} failed: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
  return (results ?? []).map((result) => result.migrationName);
}

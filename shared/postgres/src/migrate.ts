import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, type Migration, Migrator, sql } from 'kysely';

/** Migrations by name; they run in the alphabetical order of their names, each once. */
export type Migrations = Record<string, Migration>;

/** How long a migration waits for the lock of a table, in milliseconds: less than PostgreSQL lets a deadlock last (1 s). */
const LOCK_TIMEOUT_MS = 200;
const RETRY_MS = 300;
/** How often a migration that requests keep from its locks begins again. */
const ATTEMPTS = 200;
/** PostgreSQL's codes for a lock that was not obtained in time, and for a deadlock. */
const NOT_LOCKED = new Set(['55P03', '40P01']);

/**
 * Brings a database to the newest schema, all or nothing. Safe to call from several processes at once (it takes a lock), and
 * while processes of an earlier release serve requests: it locks every table before it changes one, and begins again when a
 * request holds a lock for long, so that none is the victim of a deadlock.
 *
 * @returns the names of the migrations that were run now
 */
export async function migrate(db: Kysely<never>, migrations: Migrations): Promise<string[]> {
  const locking = Object.fromEntries(
    Object.entries(migrations).map(([name, migration]) => [name, lockingFirst(migration)]),
  );
  const migrator = new Migrator({ db, provider: { getMigrations: async () => locking } });
  for (let attempt = 1; ; attempt++) {
    const { error, results } = await migrator.migrateToLatest();
    if (!error) return (results ?? []).map((result) => result.migrationName);
    if (NOT_LOCKED.has(String((error as { code?: unknown }).code)) && attempt < ATTEMPTS) {
      await sleep(RETRY_MS * (0.5 + Math.random()));
      continue;
    }
    const failed = results?.find((result) => result.status === 'Error')?.migrationName;
    // It failed before the first one: no connection, or a database that is of a newer program.
    if (failed === undefined) throw error;
    throw new Error(`Migration ${failed} failed: ${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

function lockingFirst(migration: Migration): Migration {
  return {
    ...migration,
    async up(db) {
      await lockTables(db);
      await migration.up(db);
    },
  };
}

/** Locks every table of the schema until the transaction ends, except those of the migrations themselves. */
async function lockTables(db: Kysely<unknown>): Promise<void> {
  await sql`
    do $$ declare
      tables text := (
        select string_agg(quote_ident(relname), ', ' order by relname) from pg_class
        where relkind in ('r', 'p') and relnamespace = current_schema()::regnamespace and relname not like 'kysely%'
      );
    begin
      if tables is null then return; end if;
      perform set_config('lock_timeout', '${sql.raw(String(LOCK_TIMEOUT_MS))}', true);
      execute 'lock table ' || tables || ' in access exclusive mode';
    end $$
  `.execute(db);
}

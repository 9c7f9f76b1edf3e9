import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, type Migration, Migrator, sql } from 'kysely';

/** Migrations by name; they run in the alphabetical order of their names, each once. */
export type Migrations = Record<string, Migration>;

/** Work at the end of the transaction of migrations, on the newest schema; every table that was there before is locked. */
export type AfterMigrations = (transaction: Kysely<unknown>) => Promise<void>;

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
 * @param after run only when there are migrations to run; when it fails, they are undone
 * @returns the names of the migrations that were run now
 */
export async function migrate(
  db: Kysely<never>,
  migrations: Migrations,
  after: AfterMigrations = async () => undefined,
): Promise<string[]> {
  const last = Object.keys(migrations)
    .sort((a, b) => a.localeCompare(b))
    .at(-1);
  const locking = Object.fromEntries(
    Object.entries(migrations).map(([name, migration]) => [
      name,
      lockingFirst(name === last ? followedBy(migration, after) : migration),
    ]),
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

/** All migrations that are to be run are in one transaction: what follows the last one sees them all, and no other process. */
function followedBy(migration: Migration, after: AfterMigrations): Migration {
  return {
    ...migration,
    async up(db) {
      await migration.up(db);
      await after(db);
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

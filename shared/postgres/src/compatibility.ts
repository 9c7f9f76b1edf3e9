import { type Kysely, sql } from 'kysely';

/**
 * Ends the support of the release before in a database: what its processes need, and this release does not. A migration leaves
 * a function `end_compatibility()` that removes it. While a process of that release is connected, nothing happens: each later
 * set-up tries again.
 */
export async function endCompatibility(db: Kysely<never>): Promise<void> {
  await sql`
    do $$ begin
      perform pg_advisory_xact_lock(hashtextextended('end_compatibility', 0));
      if to_regprocedure('end_compatibility()') is null or exists (
        select from pg_stat_activity where datname = current_database() and application_name ~ '^tributary-[a-z-]+-relay$'
      ) then
        return;
      end if;
      perform end_compatibility();
      drop function end_compatibility();
    end $$
  `.execute(db);
}

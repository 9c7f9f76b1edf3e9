import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    // Commands of the release before state the key alone as what is unique. Where keys of two rows are the same already, none of its
    // processes can be running. `endCompatibility` removes all of it.
    await sql`
        do $$ begin
          create unique index account_entries_idempotency_key on account_entries (idempotency_key);
        exception when unique_violation then null;
        end $$;
        create function end_compatibility() returns void language plpgsql as $$ begin
          drop index if exists account_entries_idempotency_key;
        end $$
      `.execute(db);
  },
};

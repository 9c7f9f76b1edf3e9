import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    await sql`
    alter table consumer_positions
      add column if not exists in_sync_at timestamptz, add column if not exists in_sync_position bigint
  `.execute(db);
  },
};

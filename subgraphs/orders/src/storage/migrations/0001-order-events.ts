import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    await sql`
        create table order_events (
          position bigint generated always as identity primary key,
          order_id text not null,
          version integer not null check (version > 0),
          type text not null,
          data jsonb not null,
          at timestamptz(3) not null,
          recorded_at timestamptz not null default now()
        );
        create unique index order_events_by_order on order_events (order_id, version);
      `.execute(db);
    await sql`
    create table imports (
      source text primary key,
      scale double precision not null,
      imported_at timestamptz not null default now()
    )
  `.execute(db);
  },
};

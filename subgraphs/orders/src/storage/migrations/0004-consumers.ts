import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    await sql`
    create table consumer_positions (
      consumer text,
      source text,
      position bigint not null,
      updated_at timestamptz not null default now(),
      primary key (consumer, source)
    );

    create table dead_letters (
      consumer text,
      source text,
      position bigint,
      aggregate_type text not null,
      aggregate_id text not null,
      event jsonb not null,
      error text not null,
      attempts integer not null,
      parked_at timestamptz not null default now(),
      primary key (consumer, source, position)
    );
    create index dead_letters_by_aggregate on dead_letters (consumer, source, aggregate_type, aggregate_id, position);
  `.execute(db);
    await sql`
    alter table consumer_positions
      add column if not exists in_sync_at timestamptz, add column if not exists in_sync_position bigint
  `.execute(db);
    await sql`
        truncate users_copy, products_copy;
        alter table users_copy add column deleted boolean not null default false;

        -- The same checksums as the owners make of what they have.
        create view users_copy_checksums as
        select id, version,
          md5(case when deleted then jsonb_build_array(id, version)
            else jsonb_build_array(id, version, name, email) end::text) as checksum
        from users_copy;
        create view products_copy_checksums as
        select id, version, md5(jsonb_build_array(id, version, sku, name)::text) as checksum from products_copy;
      `.execute(db);
  },
};

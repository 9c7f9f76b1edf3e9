import {
  addInSyncTimes,
  createConsumerTables,
  createNumbering,
  createOutbox,
  createRelayLease,
} from '@tributary/events';
import { createImportsTable, type Migrations } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { projectAll } from '../projections/order-projection.js';
import { recordWhatIsThere } from '../publication.js';
import { createReadModels, READ_MODELS } from './read-models.js';
import type { OrdersTables } from './tables.js';

export const migrations: Migrations = {
  '0001-order-events': {
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
      await createImportsTable(db);
    },
  },

  '0002-read-models': {
    async up(db) {
      await createReadModels(db as Kysely<never>);
    },
  },

  '0003-copies': {
    async up(db) {
      await sql`
        create table users_copy (
          id text primary key,
          name text not null,
          email text not null,
          version integer not null
        );
        create table products_copy (
          id text primary key,
          sku text not null,
          name text not null,
          version integer not null
        );
      `.execute(db);
    },
  },

  '0004-consumers': {
    async up(db) {
      await createConsumerTables(db);
      // The copies are made from events now, from the first on.
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
  },

  '0005-placement': {
    async up(db) {
      await createOutbox(db);
      await createNumbering(db);
      await sql`
        alter table order_events add column schema_version integer not null default 1;
        alter table order_events alter column schema_version drop default;

        create table order_snapshots (
          order_id text primary key,
          version integer not null,
          shape integer not null,
          state jsonb not null
        );

        create sequence order_numbers;

        create table placement_sagas (
          order_id text primary key,
          idempotency_key text not null,
          request text not null,
          status text not null check (status in (
            'STARTED', 'INVENTORY_RESERVED', 'PAYMENT_CHARGED', 'COMPLETED', 'COMPENSATING', 'COMPENSATED', 'FAILED'
          )),
          steps jsonb not null,
          failure text,
          cancelled boolean not null default false,
          commands integer not null,
          correlation_id text,
          traceparent text,
          due_at timestamptz(3),
          started_at timestamptz(3) not null,
          finished_at timestamptz(3)
        );
        create unique index placement_sagas_idempotency_key on placement_sagas (idempotency_key);
        create index placement_sagas_due on placement_sagas (due_at) where due_at is not null;
        create index placement_sagas_open on placement_sagas (started_at) where finished_at is null;

        -- The copy of products has the price, too, so it is read again from the first event on.
        drop view products_copy_checksums;
        truncate products_copy;
        alter table products_copy add column price numeric(12, 2) not null;
        create view products_copy_checksums as
        select id, version, md5(jsonb_build_array(id, version, sku, name, price)::text) as checksum from products_copy;
        delete from consumer_positions where source = 'products';
        delete from dead_letters where source = 'products';
      `.execute(db);
      await sql`drop table ${sql.join(READ_MODELS.map((table) => sql.table(table)))}`.execute(db);
      await createReadModels(db as Kysely<never>);
      await projectAll(db as Kysely<OrdersTables>);
      await recordWhatIsThere(db as Kysely<OrdersTables>);
    },
  },

  '0006-keys-of-customers': {
    async up(db) {
      await sql`
        alter table placement_sagas add column customer_id text;
        update placement_sagas set customer_id = request::jsonb ->> 'customerId';
        alter table placement_sagas alter column customer_id set not null;
        create unique index placement_sagas_customer_key on placement_sagas (customer_id, idempotency_key);
        drop index placement_sagas_idempotency_key;

        -- A sum that does not fit would keep orders from being confirmed after their customers have paid.
        alter table user_order_stats alter column total_spent type numeric;
        alter table product_sales alter column revenue type numeric;
      `.execute(db);
    },
  },

  '0007-relay-lease': {
    async up(db) {
      await createRelayLease(db);
    },
  },

  '0008-copies-in-sync': {
    async up(db) {
      await addInSyncTimes(db);
    },
  },

  '0009-shadows': {
    async up(db) {
      // A rebuild that was killed left them behind, with data of users who may have been deleted since. Now they are temporary.
      await sql`
        drop table if exists users_copy_shadow, products_copy_shadow;
        delete from dead_letters where consumer = 'orders (rebuild)'
      `.execute(db);
    },
  },

  '0010-beside-the-release-before': {
    async up(db) {
      // Commands of the release before state the key alone as what is unique. Where keys of two rows are the same already, none of its
      // processes can be running. `endCompatibility` removes all of it.
      await sql`
        do $$ begin
          create unique index placement_sagas_idempotency_key on placement_sagas (idempotency_key);
        exception when unique_violation then null;
        end $$;
        create function set_customer_of_saga() returns trigger language plpgsql as $$ begin
          new.customer_id := new.request::jsonb ->> 'customerId';
          return new;
        end $$;
        create trigger placement_sagas_customer before insert on placement_sagas
          for each row when (new.customer_id is null) execute function set_customer_of_saga();
        create function end_compatibility() returns void language plpgsql as $$ begin
          drop index if exists placement_sagas_idempotency_key;
          drop trigger placement_sagas_customer on placement_sagas;
          drop function set_customer_of_saga();
        end $$
      `.execute(db);
    },
  },
};

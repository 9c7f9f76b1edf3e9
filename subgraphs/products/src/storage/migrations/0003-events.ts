import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    await sql`
    create table outbox (
      sequence bigint generated always as identity primary key,
      position bigint,
      id uuid not null unique,
      type text not null,
      schema_version integer not null,
      aggregate_type text not null,
      aggregate_id text not null,
      aggregate_version integer not null,
      occurred_at timestamptz(3) not null,
      recorded_at timestamptz(3) not null default now(),
      correlation_id text,
      causation_id text,
      traceparent text,
      data jsonb not null,
      unique (aggregate_type, aggregate_id, aggregate_version)
    );
    create unique index outbox_position on outbox (position);
    create index outbox_unnumbered on outbox (sequence) where position is null;

    create table ledger (
      singleton boolean primary key default true check (singleton),
      -- The last position given; the last position published.
      head bigint not null default 0,
      published bigint not null default 0,
      -- The last position that retention has deleted.
      deleted_to bigint not null default 0
    );
    insert into ledger default values;

    create table ledger_consumers (
      name text primary key,
      position bigint not null,
      seen_at timestamptz not null default now()
    );

    create function tell_outbox() returns trigger language plpgsql as $$
    begin
      perform pg_notify('outbox', '');
      return null;
    end $$;
    create trigger outbox_told after insert on outbox for each statement execute function tell_outbox();
  `.execute(db);
    await sql`alter table stock add column version integer not null default 0`.execute(db);
    await sql`
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'ProductCreated', 1, 'Product', id, version, updated_at,
      jsonb_build_object(
  'sku', sku, 'name', name, 'category', category, 'subCategory', sub_category,
  'price', price::text, 'attributes', attributes, 'status', status
)
    from products order by created_at, id
  `.execute(db);
    await sql`
    update stock set version = (select count(*) from stock_receipts where stock_receipts.product_id = stock.product_id)
  `.execute(db);
    await sql`
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'StockReceived', 1, 'Stock', product_id, row_number() over (partition by product_id order by id), at,
      jsonb_build_object(
        'quantity', quantity, 'onHand', sum(quantity) over (partition by product_id order by id), 'reason', reason
      )
    from stock_receipts order by id
  `.execute(db);
    // What a copy of products should hold; orders makes the same checksum of its own.
    await sql`
        create view product_states as
        select id, version, 'ProductUpdated' as type, jsonb_build_object('sku', sku, 'name', name) as data,
          md5(jsonb_build_array(id, version, sku, name)::text) as checksum
        from products
      `.execute(db);
  },
};

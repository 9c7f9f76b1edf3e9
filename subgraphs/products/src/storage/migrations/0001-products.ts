import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    await sql`
        create table products (
          id text primary key,
          sku text not null,
          name text collate "und-x-icu" not null,
          category text not null,
          sub_category text not null,
          price numeric(12, 2) not null check (price > 0),
          attributes jsonb not null default '{}',
          status text not null default 'ACTIVE' check (status in ('ACTIVE', 'DISCONTINUED')),
          units_sold bigint not null default 0,
          created_at timestamptz(3) not null default now(),
          updated_at timestamptz(3) not null default now(),
          version integer not null default 1,
          search tsvector generated always as (
            setweight(to_tsvector('english', name), 'A') ||
            setweight(to_tsvector('english', sub_category || ' ' || category), 'B') ||
            setweight(to_tsvector('simple', sku), 'A')
          ) stored
        );
        create unique index products_sku_key on products (sku);
        create index products_by_name on products (name, id);
        create index products_by_price on products (price, id);
        create index products_by_age on products (created_at, id);
        create index products_by_sales on products (units_sold, id);
        create index products_by_category on products (category, sub_category, name, id);
        create index products_search on products using gin (search);

        create table stock (
          product_id text primary key references products,
          on_hand integer not null check (on_hand >= 0),
          reserved integer not null default 0 check (reserved >= 0 and reserved <= on_hand)
        );

        create table stock_receipts (
          id bigint generated always as identity primary key,
          product_id text not null references products,
          quantity integer not null check (quantity > 0),
          reason text not null,
          idempotency_key text,
          at timestamptz(3) not null default now()
        );
        create unique index stock_receipts_idempotency_key on stock_receipts (idempotency_key);
        create index stock_receipts_by_product on stock_receipts (product_id, id);
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

import { createNumbering, createOutbox } from '@tributary/shared/events/outbox';
import { createConsumerTables } from '@tributary/shared/events/positions';
import { createImportsTable } from '@tributary/shared/postgres/import-once';
import type { Migrations } from '@tributary/shared/postgres/migrate';
import { type Kysely, sql } from 'kysely';

export const migrations: Migrations = {
  '0001-products': {
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
      await createImportsTable(db);
    },
  },

  '0002-category-counts': {
    async up(db) {
      await sql`
        create table category_counts (
          category text,
          sub_category text,
          count bigint not null,
          primary key (category, sub_category)
        );
        insert into category_counts select category, sub_category, count(*) from products group by 1, 2;

        create function add_to_category_counts(category text, sub_category text, difference bigint)
        returns void language sql begin atomic
          insert into category_counts as kept values (category, sub_category, difference)
          on conflict (category, sub_category) do update set count = kept.count + excluded.count;
        end;

        create function count_products() returns trigger language plpgsql as $$
        begin
          case tg_op
            when 'INSERT' then
              perform add_to_category_counts(category, sub_category, count(*))
              from new_rows group by category, sub_category order by category, sub_category;
            when 'DELETE' then
              perform add_to_category_counts(category, sub_category, -count(*))
              from old_rows group by category, sub_category order by category, sub_category;
            else
              -- Most updates move no product, and then no count is touched.
              perform add_to_category_counts(category, sub_category, sum(difference)::bigint)
              from (
                select category, sub_category, 1 as difference from new_rows
                union all select category, sub_category, -1 from old_rows
              ) as moved
              group by category, sub_category having sum(difference) <> 0 order by category, sub_category;
          end case;
          return null;
        end $$;

        create trigger products_inserted after insert on products
          referencing new table as new_rows for each statement execute function count_products();
        create trigger products_updated after update on products
          referencing new table as new_rows old table as old_rows for each statement execute function count_products();
        create trigger products_deleted after delete on products
          referencing old table as old_rows for each statement execute function count_products();
      `.execute(db);
    },
  },

  '0003-events': {
    async up(db) {
      await createOutbox(db);
      await sql`alter table stock add column version integer not null default 0`.execute(db);
      await recordWhatIsThere(db);
      // What a copy of products should hold; orders makes the same checksum of its own.
      await sql`
        create view product_states as
        select id, version, 'ProductUpdated' as type, jsonb_build_object('sku', sku, 'name', name) as data,
          md5(jsonb_build_array(id, version, sku, name)::text) as checksum
        from products
      `.execute(db);
    },
  },

  '0004-reservations': {
    async up(db) {
      await createConsumerTables(db);
      await createNumbering(db);
      await sql`
        alter table stock
          add column sold integer not null default 0 check (sold >= 0);

        create table reservations (
          order_id text primary key,
          status text not null check (status in ('HELD', 'COMMITTED', 'RELEASED', 'EXPIRED', 'REFUSED')),
          lines jsonb not null,
          refusal jsonb,
          expires_at timestamptz(3) not null,
          version integer not null,
          created_at timestamptz(3) not null default now(),
          updated_at timestamptz(3) not null default now()
        );
        create index reservations_held on reservations (expires_at) where status = 'HELD';

        -- From here on the orders service's events bring them.
        update products set units_sold = 0;

        -- What a copy of products should hold has the price, too.
        drop view product_states;
        create view product_states as
        select id, version, 'ProductUpdated' as type,
          jsonb_build_object('sku', sku, 'name', name, 'price', price::text) as data,
          md5(jsonb_build_array(id, version, sku, name, price)::text) as checksum
        from products
      `.execute(db);
    },
  },
};

/** Tells in events what came into the tables without: an import, or what was there before there were events. */
export async function recordWhatIsThere(db: Kysely<unknown>): Promise<void> {
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
}

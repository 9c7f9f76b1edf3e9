import {
  addInSyncTimes,
  createConsumerTables,
  createNumbering,
  createOutbox,
  createRelayLease,
} from '@tributary/events';
import { createImportsTable, createSearchWords, FOLDED_TEXT, type Migrations } from '@tributary/postgres';
import { MAX_JSON_DEPTH } from '@tributary/server';
import { type Kysely, sql } from 'kysely';

/** What an event of a product says of its row. */
const PRODUCT_EVENT_DATA = sql.raw(`jsonb_build_object(
  'sku', sku, 'name', name, 'category', category, 'subCategory', sub_category,
  'price', price::text, 'attributes', attributes, 'status', status
)`);

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

  '0005-keys-depth-and-search': {
    async up(db) {
      // A client's key counts for its product and command only. Keys that are stored stay what they are.
      await sql`
        drop index stock_receipts_idempotency_key;
        create unique index stock_receipts_client_key on stock_receipts (product_id, reason, idempotency_key)
          where idempotency_key is not null;

        -- What is returned must always fit, however much came in since.
        alter table stock
          alter column on_hand type bigint,
          alter column reserved type bigint,
          alter column sold type bigint
      `.execute(db);
      await replaceDeepAttributes(db);
      await composeCharacters(db);
      await createSearchWords(db);
      await sql`
        create function search_text(text) returns text language sql immutable strict parallel safe
        return array_to_string(search_words($1), ' ');

        -- Of the punctuation a search keeps quotes, and a hyphen that begins a word: "a phrase", -without.
        create function search_query(text) returns tsquery language sql immutable strict parallel safe
        return websearch_to_tsquery('english', regexp_replace(
          regexp_replace(${FOLDED_TEXT}, '[^[:alnum:]"-]+', ' ', 'g'),
          '(?<=[[:alnum:]])-+|-+(?![[:alnum:]"])', ' ', 'g'
        ));

        alter table products drop column search;
        alter table products add column search tsvector generated always as (
          setweight(to_tsvector('english', search_text(name)), 'A') ||
          setweight(to_tsvector('english', search_text(sub_category || ' ' || category)), 'B') ||
          setweight(to_tsvector('english', search_text(sku)), 'A')
        ) stored;
        create index products_search on products using gin (search)
      `.execute(db);
    },
  },

  '0006-relay-lease': {
    async up(db) {
      await createRelayLease(db);
    },
  },

  '0007-copies-in-sync': {
    async up(db) {
      await addInSyncTimes(db);
    },
  },

  '0008-beside-the-release-before': {
    async up(db) {
      // Commands of the release before state the key alone as what is unique. Where keys of two rows are the same already, none of its
      // processes can be running. `endCompatibility` removes all of it.
      await sql`
        do $$ begin
          create unique index stock_receipts_idempotency_key on stock_receipts (idempotency_key);
        exception when unique_violation then null;
        end $$;
        create function end_compatibility() returns void language plpgsql as $$ begin
          drop index if exists stock_receipts_idempotency_key;
        end $$
      `.execute(db);
    },
  },
};

/**
 * Replaces attributes that are nested too deep to be read, also in past events, by `{}`, and keeps them in a table for an
 * operator to look at. From here on the table refuses them.
 */
async function replaceDeepAttributes(db: Kysely<unknown>): Promise<void> {
  const tooDeep = sql.raw(`@? 'strict $.**{${MAX_JSON_DEPTH + 1}}'`);
  await sql`
    create table replaced_attributes (
      product_id text not null references products,
      version integer not null,
      attributes jsonb not null,
      replaced_at timestamptz not null default now(),
      primary key (product_id, version)
    );
    insert into replaced_attributes (product_id, version, attributes)
    select id, version, attributes from products where attributes ${tooDeep}
    union
    select aggregate_id, aggregate_version, data -> 'attributes' from outbox
    where aggregate_type = 'Product' and data -> 'attributes' ${tooDeep};

    update outbox set data = jsonb_set(data, '{attributes}', '{}')
    where aggregate_type = 'Product' and data -> 'attributes' ${tooDeep};

    with changed as (
      update products set attributes = '{}', version = version + 1, updated_at = now()
      where attributes ${tooDeep} returning *
    )
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'ProductUpdated', 1, 'Product', id, version, updated_at, ${PRODUCT_EVENT_DATA}
    from changed order by id;

    alter table products add constraint products_attributes_depth check (not attributes ${tooDeep})
  `.execute(db);
}

/**
 * Brings the texts of products into Unicode's composed form (NFC), in which new ones are stored. A SKU whose composed form another
 * product has stays as it is.
 */
async function composeCharacters(db: Kysely<unknown>): Promise<void> {
  await sql`
    with composed as (
      select id, normalize(name) as name, normalize(category) as category, normalize(sub_category) as sub_category,
        case when
          row_number() over (partition by normalize(sku) order by created_at, id) = 1
          and not exists (
            select from products as other where other.sku = normalize(products.sku) and other.id <> products.id
          )
        then normalize(sku) else sku end as sku
      from products
      where name is not nfc normalized or category is not nfc normalized
        or sub_category is not nfc normalized or sku is not nfc normalized
    ), changed as (
      update products set name = composed.name, category = composed.category, sub_category = composed.sub_category,
        sku = composed.sku, version = version + 1, updated_at = now()
      from composed
      where products.id = composed.id and (products.name, products.category, products.sub_category, products.sku)
        <> (composed.name, composed.category, composed.sub_category, composed.sku)
      returning products.*
    )
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'ProductUpdated', 1, 'Product', id, version, updated_at, ${PRODUCT_EVENT_DATA}
    from changed order by id
  `.execute(db);
}

/** Tells in events what came into the tables without: an import, or what was there before there were events. */
export async function recordWhatIsThere(db: Kysely<unknown>): Promise<void> {
  await sql`
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'ProductCreated', 1, 'Product', id, version, updated_at,
      ${PRODUCT_EVENT_DATA}
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

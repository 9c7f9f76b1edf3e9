import { type Migration, sql } from 'kysely';

export const migration: Migration = {
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
    await sql`
    create table replaced_attributes (
      product_id text not null references products,
      version integer not null,
      attributes jsonb not null,
      replaced_at timestamptz not null default now(),
      primary key (product_id, version)
    );
    insert into replaced_attributes (product_id, version, attributes)
    select id, version, attributes from products where attributes @? 'strict $.**{33}'
    union
    select aggregate_id, aggregate_version, data -> 'attributes' from outbox
    where aggregate_type = 'Product' and data -> 'attributes' @? 'strict $.**{33}';

    update outbox set data = jsonb_set(data, '{attributes}', '{}')
    where aggregate_type = 'Product' and data -> 'attributes' @? 'strict $.**{33}';

    with changed as (
      update products set attributes = '{}', version = version + 1, updated_at = now()
      where attributes @? 'strict $.**{33}' returning *
    )
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'ProductUpdated', 1, 'Product', id, version, updated_at, jsonb_build_object(
  'sku', sku, 'name', name, 'category', category, 'subCategory', sub_category,
  'price', price::text, 'attributes', attributes, 'status', status
)
    from changed order by id;

    alter table products add constraint products_attributes_depth check (not attributes @? 'strict $.**{33}')
  `.execute(db);
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
    select gen_random_uuid(), 'ProductUpdated', 1, 'Product', id, version, updated_at, jsonb_build_object(
  'sku', sku, 'name', name, 'category', category, 'subCategory', sub_category,
  'price', price::text, 'attributes', attributes, 'status', status
)
    from changed order by id
  `.execute(db);
    await sql`
    create function search_words(text) returns text[] language sql immutable strict parallel safe
    return array(
      select word
      from regexp_split_to_table(translate(lower(normalize($1) collate "und-x-icu"), U&'\\03C2\\0307', U&'\\03C3'), '[^[:alnum:]]+') with ordinality as words (word, place)
      where word <> '' order by place
    )
  `.execute(db);
    await sql`
        create function search_text(text) returns text language sql immutable strict parallel safe
        return array_to_string(search_words($1), ' ');

        -- Of the punctuation a search keeps quotes, and a hyphen that begins a word: "a phrase", -without.
        create function search_query(text) returns tsquery language sql immutable strict parallel safe
        return websearch_to_tsquery('english', regexp_replace(
          regexp_replace(translate(lower(normalize($1) collate "und-x-icu"), U&'\\03C2\\0307', U&'\\03C3'), '[^[:alnum:]"-]+', ' ', 'g'),
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
};

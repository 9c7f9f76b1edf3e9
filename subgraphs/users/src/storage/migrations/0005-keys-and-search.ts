import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    // A client's key counts for its account and command only. What the system does to an account is identified by order
    // and reason, so no key that a client chooses can meet it. Keys that are stored stay what they are.
    await sql`
        drop index account_entries_idempotency_key;
        create unique index account_entries_client_key on account_entries (user_id, reason, idempotency_key)
          where order_id is null;
        create unique index account_entries_of_order on account_entries (order_id, reason) where order_id is not null;

        -- Of a refused charge nothing was paid back, and every answer has to say so.
        update payments set amount = 0
        where status = 'REFUNDED' and amount <> 0 and not exists (
          select from account_entries where account_entries.order_id = payments.order_id and reason = 'charge'
        )
      `.execute(db);
    await sql`
    with composed as (
      select id, normalize(name) as name,
        case when
          row_number() over (partition by lower(normalize(email)) order by created_at, id) = 1
          and not exists (
            select from users as other where lower(other.email) = lower(normalize(users.email)) and other.id <> users.id
          )
        then normalize(email) else email end as email
      from users where status <> 'DELETED' and (name is not nfc normalized or email is not nfc normalized)
    ), changed as (
      update users set name = composed.name, email = composed.email, version = version + 1, updated_at = now()
      from composed
      where users.id = composed.id and (users.name, users.email) <> (composed.name, composed.email)
      returning users.*
    )
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'UserUpdated', 1, 'User', id, version, updated_at,
      jsonb_build_object('name', name, 'email', email, 'segment', segment, 'status', status)
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
        create function search_prefixes(text) returns tsquery language sql immutable strict parallel safe
        return (select string_agg(format('%L:*', word), ' & ') from unnest(search_words($1)) as word)::tsquery;

        alter table users drop column search;
        alter table users add column search tsvector
          generated always as (array_to_tsvector(search_words(name || ' ' || email))) stored;
        create index users_search on users using gin (search)
      `.execute(db);
  },
};

import {
  addInSyncTimes,
  createConsumerTables,
  createNumbering,
  createOutbox,
  createRelayLease,
} from '@tributary/events';
import { createImportsTable, createSearchWords, type Migrations } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';

export const migrations: Migrations = {
  '0001-users': {
    async up(db) {
      await sql`
        create table users (
          id text primary key,
          name text collate "und-x-icu" not null,
          email text not null,
          status text not null default 'ACTIVE' check (status in ('ACTIVE', 'SUSPENDED', 'DELETED')),
          segment text,
          created_at timestamptz(3) not null default now(),
          updated_at timestamptz(3) not null default now(),
          version integer not null default 1,
          search tsvector generated always as (
            to_tsvector('simple', name || ' ' || translate(email, '.@_-+', '     '))
          ) stored
        );
        create unique index users_email_key on users (lower(email));
        create index users_by_name on users (name, id) where status <> 'DELETED';
        create index users_search on users using gin (search);

        create table addresses (
          user_id text not null references users,
          position integer not null,
          line text,
          city text not null,
          state text,
          postal_code text,
          country text not null,
          region text,
          primary key (user_id, position)
        );

        create table accounts (
          user_id text primary key references users,
          balance numeric(18, 2) not null default 0 check (balance >= 0)
        );

        create table account_entries (
          id bigint generated always as identity primary key,
          user_id text not null references accounts,
          amount numeric(18, 2) not null,
          reason text not null,
          order_id text,
          idempotency_key text,
          at timestamptz(3) not null default now()
        );
        create unique index account_entries_idempotency_key on account_entries (idempotency_key);
        create index account_entries_by_user on account_entries (user_id, id desc);
      `.execute(db);
      await createImportsTable(db);
    },
  },

  '0002-row-counts': {
    async up(db) {
      await sql`
        create table row_counts (name text primary key, count bigint not null);
        insert into row_counts select 'users', count(*) from users where status <> 'DELETED';

        create function count_users() returns trigger language plpgsql as $$
        declare
          difference bigint := 0;
        begin
          if tg_op in ('INSERT', 'UPDATE') then
            difference := difference + (select count(*) from new_rows where status <> 'DELETED');
          end if;
          if tg_op in ('UPDATE', 'DELETE') then
            difference := difference - (select count(*) from old_rows where status <> 'DELETED');
          end if;
          if difference <> 0 then
            update row_counts set count = count + difference where name = 'users';
          end if;
          return null;
        end $$;

        create trigger users_inserted after insert on users
          referencing new table as new_rows for each statement execute function count_users();
        create trigger users_updated after update on users
          referencing new table as new_rows old table as old_rows for each statement execute function count_users();
        create trigger users_deleted after delete on users
          referencing old table as old_rows for each statement execute function count_users();
      `.execute(db);
    },
  },

  '0003-events': {
    async up(db) {
      await createOutbox(db);
      await sql`alter table accounts add column version integer not null default 0`.execute(db);
      await recordWhatIsThere(db);
      // What a copy of users should hold; orders makes the same checksum of its own.
      await sql`
        create view user_states as
        select id, version,
          case status when 'DELETED' then 'UserDeleted' else 'UserUpdated' end as type,
          case status when 'DELETED' then '{"erased": true}' else jsonb_build_object('name', name, 'email', email) end as data,
          md5(case status when 'DELETED' then jsonb_build_array(id, version)
            else jsonb_build_array(id, version, name, email) end::text) as checksum
        from users
      `.execute(db);
    },
  },

  '0004-payments': {
    async up(db) {
      await createConsumerTables(db);
      await createNumbering(db);
      await sql`
        create table payments (
          order_id text primary key,
          user_id text not null,
          amount numeric(18, 2) not null check (amount >= 0),
          status text not null check (status in ('CHARGED', 'REFUSED', 'REFUNDED')),
          refusal jsonb,
          version integer not null,
          created_at timestamptz(3) not null default now(),
          updated_at timestamptz(3) not null default now()
        )
      `.execute(db);
    },
  },

  '0005-keys-and-search': {
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
      await composeCharacters(db);
      await createSearchWords(db);
      await sql`
        create function search_prefixes(text) returns tsquery language sql immutable strict parallel safe
        return (select string_agg(format('%L:*', word), ' & ') from unnest(search_words($1)) as word)::tsquery;

        alter table users drop column search;
        alter table users add column search tsvector
          generated always as (array_to_tsvector(search_words(name || ' ' || email))) stored;
        create index users_search on users using gin (search)
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
          create unique index account_entries_idempotency_key on account_entries (idempotency_key);
        exception when unique_violation then null;
        end $$;
        create function end_compatibility() returns void language plpgsql as $$ begin
          drop index if exists account_entries_idempotency_key;
        end $$
      `.execute(db);
    },
  },
};

/**
 * Brings names and e-mail addresses into Unicode's composed form (NFC), in which new ones are stored. An address whose composed
 * form another user has stays as it is.
 */
async function composeCharacters(db: Kysely<unknown>): Promise<void> {
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
}

/** Tells in events what came into the tables without: an import, or what was there before there were events. */
export async function recordWhatIsThere(db: Kysely<unknown>): Promise<void> {
  await sql`
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), case status when 'DELETED' then 'UserDeleted' else 'UserRegistered' end, 1, 'User', id, version, updated_at,
      case status
        when 'DELETED' then jsonb_build_object('status', status, 'erased', true)
        else jsonb_build_object('name', name, 'email', email, 'segment', segment, 'status', status)
      end
    from users order by created_at, id
  `.execute(db);
  await sql`
    update accounts set version = (select count(*) from account_entries where account_entries.user_id = accounts.user_id)
  `.execute(db);
  await sql`
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'AccountCredited', 1, 'Account', user_id, row_number() over (partition by user_id order by id), at,
      jsonb_build_object(
        'amount', amount::text,
        'balance', (sum(amount) over (partition by user_id order by id))::text,
        'reason', reason
      )
    from account_entries order by id
  `.execute(db);
}

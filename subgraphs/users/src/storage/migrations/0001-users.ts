import { type Migration, sql } from 'kysely';

export const migration: Migration = {
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
    await sql`
    create table imports (
      source text primary key,
      scale double precision not null,
      imported_at timestamptz not null default now()
    )
  `.execute(db);
  },
};

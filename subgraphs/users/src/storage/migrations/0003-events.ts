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
    await sql`alter table accounts add column version integer not null default 0`.execute(db);
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
};

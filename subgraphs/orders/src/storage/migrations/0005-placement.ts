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
    await sql`
    alter table outbox drop constraint outbox_pkey;
    alter table outbox drop constraint outbox_id_key;
    alter table outbox add primary key (id);

    create function number_outbox(most integer, out numbered bigint, out head bigint) language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    declare
      before bigint;
    begin
      select ledger.head into before from ledger for update;
      with fresh as (
        select sequence, row_number() over (order by sequence) as place
        from (select sequence from outbox where position is null order by sequence limit most) as unnumbered
      ), placed as (
        update outbox set position = before + fresh.place
        from fresh where outbox.sequence = fresh.sequence and outbox.position is null
        returning outbox.sequence
      )
      select count(*) into numbered from placed;
      head := before + numbered;
      if numbered > 0 then
        update ledger set head = number_outbox.head;
      end if;
    end $$;
  `.execute(db);
    await sql`
    alter table ledger
      add column if not exists leader text,
      add column if not exists term bigint not null default 0,
      add column if not exists lease_until timestamptz;

    create or replace function lead_outbox(
      candidate text, lease interval, most integer,
      out term bigint, out remaining_ms double precision, out numbered bigint, out head bigint
    ) language plpgsql
    set enable_seqscan = off set enable_bitmapscan = off as $$
    declare
      seen record;
    begin
      select l.leader, l.term, l.lease_until, l.head,
        (select o.sequence from outbox o where o.position is null order by o.sequence limit 1) is null as complete
      into seen from ledger l;
      if seen.leader is distinct from candidate
        and seen.lease_until > clock_timestamp() and seen.lease_until <= clock_timestamp() + lease then
        return;
      end if;
      if seen.complete then
        numbered := 0;
        head := seen.head;
      else
        select n.numbered, n.head into numbered, head from number_outbox(most) n;
      end if;
      if seen.leader = candidate
        and seen.lease_until > clock_timestamp() + lease * 0.75 and seen.lease_until <= clock_timestamp() + lease then
        term := seen.term;
      else
        -- Whoever waits for the lock looks again at what the other one has left.
        update ledger l
        set leader = candidate, lease_until = clock_timestamp() + lease,
          term = case when l.leader = candidate then l.term
            else greatest(l.term + 1, floor(extract(epoch from clock_timestamp()) * 1000)) end
        where l.leader = candidate or l.lease_until is null or l.lease_until <= clock_timestamp()
          or l.lease_until > clock_timestamp() + lease
        returning l.term, l.lease_until into term, seen.lease_until;
        if term is null then
          return;
        end if;
      end if;
      remaining_ms := extract(epoch from seen.lease_until - clock_timestamp()) * 1000;
    end $$;

    create or replace function number_outbox(most integer, out numbered bigint, out head bigint) language plpgsql
    set enable_seqscan = off set enable_bitmapscan = off as $$
    declare
      before bigint;
      fresh bigint[];
    begin
      select ledger.head into before from ledger for update;
      fresh := array(select sequence from outbox where position is null order by sequence limit most);
      update outbox set position = before + array_position(fresh, sequence)
      where sequence between fresh[1] and fresh[cardinality(fresh)] and sequence = any(fresh) and position is null;
      get diagnostics numbered = row_count;
      head := before + numbered;
      if numbered > 0 then
        update ledger set head = number_outbox.head;
      end if;
    end $$;
  `.execute(db);
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
    await sql`drop table "orders_read", "order_items_read", "order_counts", "user_order_stats", "product_sales"`.execute(
      db,
    );
    await sql`
    create table orders_read (
      id text primary key,
      number text not null,
      status text not null,
      customer_id text not null,
      currency text not null,
      total numeric(18, 2) not null,
      placed_at timestamptz(3) not null,
      updated_at timestamptz(3) not null,
      version integer not null,
      rejection text
    );
    create unique index orders_read_number_key on orders_read (number);
    create index orders_read_by_age on orders_read (placed_at, id);
    create index orders_read_by_status on orders_read (status, placed_at, id);
    create index orders_read_by_customer on orders_read (customer_id, placed_at, id);

    create table order_items_read (
      order_id text not null,
      position integer not null,
      product_id text not null,
      quantity integer not null,
      unit_price numeric(18, 2) not null,
      discount numeric(5, 4) not null,
      line_total numeric(18, 2) not null,
      primary key (order_id, position)
    );

    create table order_counts (
      customer_id text,
      status text,
      count bigint not null,
      primary key (customer_id, status)
    );

    create table user_order_stats (
      user_id text primary key,
      order_count bigint not null,
      total_spent numeric not null,
      last_order_at timestamptz(3)
    );

    create table product_sales (
      product_id text primary key,
      units_sold bigint not null,
      revenue numeric not null,
      order_count bigint not null
    );
  `.execute(db);
  },
};

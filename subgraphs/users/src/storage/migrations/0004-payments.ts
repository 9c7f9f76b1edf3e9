import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
    await sql`
    create table consumer_positions (
      consumer text,
      source text,
      position bigint not null,
      updated_at timestamptz not null default now(),
      primary key (consumer, source)
    );

    create table dead_letters (
      consumer text,
      source text,
      position bigint,
      aggregate_type text not null,
      aggregate_id text not null,
      event jsonb not null,
      error text not null,
      attempts integer not null,
      parked_at timestamptz not null default now(),
      primary key (consumer, source, position)
    );
    create index dead_letters_by_aggregate on dead_letters (consumer, source, aggregate_type, aggregate_id, position);
  `.execute(db);
    await sql`
    alter table consumer_positions
      add column if not exists in_sync_at timestamptz, add column if not exists in_sync_position bigint
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
};

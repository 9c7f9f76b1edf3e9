import { type Migration, sql } from 'kysely';

export const migration: Migration = {
  async up(db) {
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
  },
};

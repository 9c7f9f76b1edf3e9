import { type Kysely, sql } from 'kysely';
import { readOldestUnpublishedMs } from './unpublished-events.js';

/**
 * How long a relay leads without renewing its lease: a leader that hangs or cannot reach the database is replaced after this time and a
 * tick of another relay. Shorter would make a slow moment of the database a change of leaders.
 */
const LEASE_MS = 2000;
/** The advisory lock that a leading relay of the release before leases holds for as long as its session lasts. */
const FORMER_LOCK = 7_402_113;
/**
 * How long an event may stay unpublished while a relay holds that lock, before that relay counts as hung: longer than the bus is usually
 * away. One that works may leave events without positions for long, because each attempt to publish to a bus that is away takes 5 to 10 s;
 * and consumers that read the event log assign positions whether it works or not.
 */
const FORMER_PATIENCE_MS = 60_000;

/**
 * A migration step: who leads the relays of a service, in which term and until when, by the database's clock.
 *
 * `lead_outbox` claims or renews the lease and assigns positions, in one round trip. A leader renews when a quarter of the lease has
 * passed; a look that finds nothing to do takes no lock and writes nothing. Each take-over begins a new term. A term is at least the time
 * of the take-over, in milliseconds since 1970: terms also grow when the database was put back from a backup. A lease that ends later
 * than one that begins now was written before the database's clock was set back, and counts as expired.
 *
 * Positions are assigned first, so that a lease is never spent on that; and without a join, which would compare every new position with every
 * event that has none when the planner takes a full outbox for an empty one.
 */
export async function createRelayLease(db: Kysely<unknown>): Promise<void> {
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
}

/** The lead over a service's outbox, for a while. */
export interface Claim {
  readonly term: number;
  /** For how many milliseconds, from the moment of the claim, no other relay leads. */
  readonly remainingMs: number;
  /** The number of events that this claim assigned positions to. */
  readonly assigned: number;
  /** The last position assigned. */
  readonly endPosition: number;
}

interface ClaimRow {
  /** Null while another relay leads. */
  readonly term: number | null;
  readonly remaining_ms: number;
  readonly numbered: number;
  readonly head: number;
}

/**
 * Claims or renews the lead, and assigns positions to what is committed.
 *
 * During an upgrade, a relay of the release before leads until it stops. Two leaders would send the same invalidations at different times:
 * a gateway of that release applies one that arrives late over a newer one, and then serves what the newer one has invalidated. So only one
 * that hangs is not waited for.
 *
 * @param candidate the same for all claims of a relay, and of no other
 * @param limit the most events that get positions
 * @returns null while another relay leads
 */
export async function claimLead<Tables>(db: Kysely<Tables>, candidate: string, limit: number): Promise<Claim | null> {
  const lease = sql<string>`make_interval(secs => ${LEASE_MS / 1000})`;
  // The function depends on the subquery's row, and `offset 0` keeps that apart: without the lock it is not called.
  let { rows } = await sql<ClaimRow>`
    select claim.* from (
      select ${lease} as lease where pg_try_advisory_xact_lock_shared(${FORMER_LOCK}) offset 0
    ) as unless_former_leads, lead_outbox(${candidate}, lease, ${limit}) as claim
  `.execute(db);
  if (rows.length === 0 && (await readOldestUnpublishedMs(db)) > FORMER_PATIENCE_MS)
    ({ rows } = await sql<ClaimRow>`select * from lead_outbox(${candidate}, ${lease}, ${limit})`.execute(db));
  const [row] = rows;
  if (!row || row.term === null) return null;
  // The clock may be set back between two looks at it.
  return {
    term: row.term,
    remainingMs: Math.min(row.remaining_ms, LEASE_MS),
    assigned: row.numbered,
    endPosition: row.head,
  };
}

/** Gives up the lead, if it is this relay's: another one takes over at once. */
export async function releaseLead<Tables>(db: Kysely<Tables>, candidate: string): Promise<void> {
  await sql`update ledger set leader = null, lease_until = null where leader = ${candidate}`.execute(db);
}

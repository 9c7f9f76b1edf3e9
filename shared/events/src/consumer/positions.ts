import type { Clock } from '@tributary/server';
import { type Kysely, sql } from 'kysely';

/** A migration step: how far each consumer is, and what it could not apply. A database that has them already adds `addInSyncTimes`. */
export async function createConsumerTables(db: Kysely<unknown>): Promise<void> {
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
  await addInSyncTimes(db);
}

/**
 * A migration step: when each copy was last in sync, by the clock of this database, and the position that it had
 * reached then. Null where it never was.
 */
export async function addInSyncTimes(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table consumer_positions
      add column if not exists in_sync_at timestamptz, add column if not exists in_sync_position bigint
  `.execute(db);
}

/** What the database stores about a copy. */
export interface StoredCopyState {
  readonly position: number;
  /** Whether the copy was ever in sync with its owner. */
  readonly everInSync: boolean;
  /** The copy has everything that its owner had committed at this time, by the monotonic clock; null when that is unknown. */
  readonly inSyncAt: number | null;
}

/** Reads the position of a copy, and when it was last in sync. */
export async function readCopyState<Tables>(
  db: Kysely<Tables>,
  consumer: string,
  source: string,
  clock: Clock,
): Promise<StoredCopyState> {
  // The age is that of the moment when the database reads its clock, which is later: the copy may look older, never fresher.
  const askedAt = clock.monotonic();
  const { rows } = await sql<{ position: number; everInSync: boolean; ageMs: number | null }>`
    -- A time before 1971 was never measured.
    select position, in_sync_at is not null and in_sync_at > '1971-01-01' as "everInSync",
      -- A position below the one that was in sync was put back: the copy is older, by an unknown time.
      case when position >= in_sync_position and in_sync_at > '1971-01-01' then extract(epoch from clock_timestamp() - in_sync_at)::float8 * 1000 end as "ageMs"
    from consumer_positions where consumer = ${consumer} and source = ${source}
  `.execute(db);
  const { position = 0, everInSync = false, ageMs = null } = rows[0] ?? {};
  // A time in the future: the database's clock was set back.
  return { position, everInSync, inSyncAt: ageMs === null || ageMs < 0 ? null : askedAt - ageMs };
}

/**
 * Notes that a copy, at the position that is stored and locked, has everything that its owner had committed at a time.
 *
 * @param inSyncAt that time, by the monotonic clock
 * @param sinceMs by how much it must be newer than what another process noted
 */
export async function storeInSyncTime<Tables>(
  transaction: Kysely<Tables>,
  consumer: string,
  source: string,
  inSyncAt: number,
  sinceMs: number,
  clock: Clock,
): Promise<void> {
  const { rows } = await sql<{ now: string }>`select clock_timestamp()::text as now`.execute(transaction);
  // Measured after the database read its clock: the time that is stored may be too early, never too late.
  const ageMs = clock.monotonic() - inSyncAt;
  await sql`
    update consumer_positions set in_sync_position = position, in_sync_at = noted.at
    from (select ${rows[0]?.now}::timestamptz - make_interval(secs => ${ageMs / 1000}) as at) as noted
    where consumer = ${consumer} and source = ${source}
      -- A time in the future: the database's clock was set back.
      and (in_sync_at is null or in_sync_position > position or in_sync_at > clock_timestamp() or in_sync_at < noted.at - make_interval(secs => ${sinceMs / 1000}))
  `.execute(transaction);
}

/** The position of a consumer, locked until the transaction ends: no other process applies or retries meanwhile. */
export async function lockPosition<Tables>(
  transaction: Kysely<Tables>,
  consumer: string,
  source: string,
): Promise<number> {
  const lock = () =>
    sql<{ position: number }>`
      select position from consumer_positions where consumer = ${consumer} and source = ${source} for update
    `.execute(transaction);
  const [existing] = (await lock()).rows;
  if (existing) return existing.position;
  await sql`
    insert into consumer_positions (consumer, source, position) values (${consumer}, ${source}, 0) on conflict do nothing
  `.execute(transaction);
  return (await lock()).rows[0]?.position ?? 0;
}

/** Stores a position that is locked. */
export async function storePosition<Tables>(
  transaction: Kysely<Tables>,
  consumer: string,
  source: string,
  position: number,
): Promise<void> {
  await sql`
    update consumer_positions set position = ${position}, updated_at = now()
    where consumer = ${consumer} and source = ${source}
  `.execute(transaction);
}

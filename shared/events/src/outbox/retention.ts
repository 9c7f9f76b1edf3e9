import { type Kysely, sql } from 'kysely';

/** How many events are looked at, and deleted, at most by one statement. */
const BATCH = 1000;

/** What `deleteOldEvents` found. */
export interface Retained {
  /** Whether there may be more to delete at once. */
  readonly more: boolean;
  /** The declared consumers that never said how far they are: nothing is deleted before they do. */
  readonly missing: readonly string[];
}

/**
 * Deletes the oldest events of a log, at most a thousand: as far as they are older than `retentionMs`, published, and applied by every
 * consumer that is declared or ever reported a position.
 */
export async function deleteOldEvents<Tables>(
  db: Kysely<Tables>,
  retentionMs: number,
  declared: readonly string[],
): Promise<Retained> {
  const { rows } = await sql<{ deleted_to: number; last: number | null; missing: string[] }>`
    select deleted_to, max(position) filter (where all_old) as last,
      array(
        select name from unnest(${declared}::text[]) as declared (name)
        where not exists (select from ledger_consumers where ledger_consumers.name = declared.name)
      ) as missing
    from ledger left join lateral (
      -- Positions have no gaps: these are the oldest ones, and the log is never read to its end.
      select position, bool_and(recorded_at < now() - make_interval(secs => ${retentionMs / 1000})) over (order by position) as all_old
      from outbox
      where position > deleted_to
        and position <= least(deleted_to + ${BATCH}, published, (select min(position) from ledger_consumers))
    ) as oldest on true
    group by deleted_to
  `.execute(db);
  const { deleted_to: deletedTo = 0, last = null, missing = [] } = rows[0] ?? {};
  if (missing.length > 0 || last === null) return { more: false, missing };
  // One statement: no process that hangs between two of them holds the lock on the event log. The events are locked before it.
  await sql`
    with deleted as (
      delete from outbox where position > ${deletedTo} and position <= ${last} returning position
    )
    update ledger set deleted_to = greatest(deleted_to, ${last}) where (select count(*) from deleted) > 0
  `.execute(db);
  return { more: last - deletedTo === BATCH, missing };
}

import { addDatabaseGauge } from '@tributary/postgres';
import { type Kysely, type RawBuilder, sql } from 'kysely';
import type { Registry } from 'prom-client';

/** How many milliseconds ago the oldest event was committed that is not noted as published; null when there is none. */
export function oldestUnpublishedMs(): RawBuilder<number | null> {
  // The position is read first: joined to the log, every event would be compared with it.
  return sql`
    extract(epoch from clock_timestamp() - least(
      (select recorded_at from outbox where position is null order by sequence limit 1),
      (select recorded_at from outbox where position > (select published from ledger) order by position limit 1)
    ))::double precision * 1000
  `;
}

/** How long ago the oldest event was committed that is not published yet, as far as is noted in the database; 0 when there is none. */
export async function readOldestUnpublishedMs<Tables>(db: Kysely<Tables>): Promise<number> {
  const { rows } = await sql<{ age: number | null }>`select ${oldestUnpublishedMs()} as age`.execute(db);
  return Math.max(0, rows[0]?.age ?? 0);
}

/** Adds `relay_oldest_seconds`, which distinguishes a relay that hangs from a busy one. */
export function measureUnpublishedEvents(db: Kysely<unknown>, metrics: Registry): void {
  addDatabaseGauge(metrics, {
    name: 'relay_oldest_seconds',
    help: 'Age of the oldest event that is committed and not yet published; 0 when there is none',
    read: async () => (await readOldestUnpublishedMs(db)) / 1000,
  });
}

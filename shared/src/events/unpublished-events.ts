import { type Kysely, sql } from 'kysely';
import type { Registry } from 'prom-client';
import { addDatabaseGauge } from '../postgres/database-gauge.js';

/** Adds `relay_oldest_seconds`, which tells a relay that hangs from one that has much to do. */
export function measureUnpublishedEvents(db: Kysely<unknown>, metrics: Registry): void {
  addDatabaseGauge(metrics, {
    name: 'relay_oldest_seconds',
    help: 'Age of the oldest event that is committed and not yet published; 0 when there is none',
    async read() {
      // The position is read first: joined to the log, every event would be compared with it.
      const { rows } = await sql<{ age: number | null }>`
        select extract(epoch from clock_timestamp() - least(
          (select recorded_at from outbox where position is null order by sequence limit 1),
          (select recorded_at from outbox where position > (select published from ledger) order by position limit 1)
        ))::double precision as age
      `.execute(db);
      return Math.max(0, rows[0]?.age ?? 0);
    },
  });
}

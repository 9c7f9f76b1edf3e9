import { type Kysely, sql } from 'kysely';
import { Gauge, type Registry } from 'prom-client';

/** Adds `relay_oldest_seconds`, which tells a relay that hangs from one that has much to do. */
export function measureUnpublishedEvents(db: Kysely<unknown>, metrics: Registry): void {
  new Gauge({
    name: 'relay_oldest_seconds',
    help: 'Age of the oldest event that is committed and not yet published; 0 when there is none',
    registers: [metrics],
    aggregator: 'max',
    async collect() {
      const { rows } = await sql<{ age: number | null }>`
        select extract(epoch from clock_timestamp() - least(
          (select recorded_at from outbox where position is null order by sequence limit 1),
          (select recorded_at from outbox, ledger where position > published order by position limit 1)
        ))::double precision as age
      `.execute(db);
      this.set(Math.max(0, rows[0]?.age ?? 0));
    },
  });
}

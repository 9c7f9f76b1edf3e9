import { exclusively } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { OrderEventStore } from '../order/event-store.js';
import { createReadModels, READ_MODELS } from '../storage/read-models.js';
import type { OrdersTables } from '../storage/tables.js';
import { projectAll, projectEvents } from './order-projection.js';

/** Where read models are rebuilt, until they take the place of those that are read. */
const SHADOW = 'rebuild';

/**
 * Rebuilds the read models from the events into new tables, while the old ones are read and updated; then, in one
 * transaction, what was recorded meanwhile is added and the tables change places. Orders wait for that last step only.
 *
 * @param onEvents called repeatedly with the number of events that were replayed
 * @returns how many events were replayed
 * @throws AlreadyRunningError while another rebuild runs
 */
export function rebuild(db: Kysely<OrdersTables>, onEvents?: (count: number) => void): Promise<number> {
  return exclusively(db, 'rebuild orders', () => rebuildThroughShadow(db, onEvents));
}

async function rebuildThroughShadow(db: Kysely<OrdersTables>, onEvents?: (count: number) => void): Promise<number> {
  await sql`drop schema if exists ${sql.ref(SHADOW)} cascade`.execute(db);
  try {
    const replayed = await db
      .transaction()
      .setIsolationLevel('repeatable read')
      .execute(async (transaction) => {
        await sql`create schema ${sql.ref(SHADOW)}`.execute(transaction);
        await lookIntoShadow(transaction);
        await createReadModels(transaction as unknown as Kysely<never>);
        return projectAll(transaction, onEvents);
      });
    const added = await db.transaction().execute(async (transaction) => {
      // Who adds an event waits here until the tables have changed places; who is adding one is waited for.
      await sql`lock table order_events in share mode`.execute(transaction);
      await lookIntoShadow(transaction);
      const count = await projectMissing(transaction);
      for (const table of READ_MODELS) {
        await sql`drop table ${sql.table(`public.${table}`)}`.execute(transaction);
        await sql`alter table ${sql.table(`${SHADOW}.${table}`)} set schema public`.execute(transaction);
      }
      return count;
    });
    onEvents?.(added);
    return replayed + added;
  } finally {
    await sql`drop schema if exists ${sql.ref(SHADOW)} cascade`.execute(db);
  }
}

async function lookIntoShadow(transaction: Kysely<OrdersTables>): Promise<void> {
  await sql`set local search_path = ${sql.ref(SHADOW)}, public`.execute(transaction);
}

/** Projects what the read models have not seen. @returns how many events */
async function projectMissing(transaction: Kysely<OrdersTables>): Promise<number> {
  const { rows } = await sql<{ order_id: string; version: number }>`
    select events.order_id, coalesce(seen.version, 0) as version
    from order_events as events left join orders_read as seen on seen.id = events.order_id
    group by events.order_id, seen.version having max(events.version) > coalesce(seen.version, 0)
  `.execute(transaction);
  const seen = new Map(rows.map((row) => [row.order_id, row.version]));
  const events = await new OrderEventStore(transaction).ofOrders([...seen.keys()]);
  const missing = events.filter(({ orderId, version }) => version > (seen.get(orderId) ?? 0));
  await projectEvents(transaction, missing);
  return missing.length;
}

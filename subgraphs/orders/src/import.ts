import { bulkInsert } from '@tributary/postgres';
import type { LoadHistory } from '@tributary/subgraph';
import type { HistoricalOrder } from '@tributary/superstore';
import { type Kysely, sql } from 'kysely';
import { EVENT_COLUMNS } from './order/event-store.js';
import { type RecordedOrderEvent, SCHEMA_VERSIONS } from './order/order-events.js';
import { projectAll } from './projections/order-projection.js';
import { recordExistingOrders } from './publication.js';
import type { OrdersTables } from './storage/tables.js';

/**
 * Writes the orders of the Superstore history as events and builds the read models from them. The copies of users and
 * products come from those services' own events.
 */
export const importOrders: LoadHistory<OrdersTables> = async (transaction, history, onRows) => {
  const db = transaction as unknown as Kysely<never>;
  const events = history.orders.flatMap(eventsOf).sort((a, b) => a.at.getTime() - b.at.getTime());
  const rows = events.map(({ orderId, version, type, data, at }) => ({
    order_id: orderId,
    version,
    type,
    schema_version: SCHEMA_VERSIONS[type],
    data,
    at,
  }));
  // An order has two events here; writing them, projecting them and recording its event for other services is a third of the work each.
  await bulkInsert(db, 'order_events', EVENT_COLUMNS, rows, { onRows: (count) => onRows(count / 6) });
  await sql`analyze order_events`.execute(db);
  await projectAll(transaction, (count) => onRows(count / 6));
  await recordExistingOrders(transaction, (count) => onRows(count / 3));
  await sql`
    analyze outbox, orders_read, order_items_read, order_counts, user_order_stats, product_sales
  `.execute(db);
};

function eventsOf(order: HistoricalOrder): RecordedOrderEvent[] {
  const { id: orderId, customerId, lines, total, placedAt, confirmedAt } = order;
  return [
    {
      orderId,
      version: 1,
      at: placedAt,
      type: 'OrderPlaced',
      data: { number: orderId, customerId, currency: 'USD', lines, total },
    },
    { orderId, version: 2, at: confirmedAt, type: 'OrderConfirmed', data: {} },
  ];
}

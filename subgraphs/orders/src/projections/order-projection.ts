import { bulkInsert } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { OrderEventStore } from '../order/event-store.js';
import { evolve, type Order } from '../order/order.js';
import type { RecordedOrderEvent } from '../order/order-events.js';
import type { OrdersTables } from '../storage/tables.js';
import { writeStatistics } from './order-statistics.js';
import { type OrderChange, readOrders } from './stored-orders.js';

const BATCH = 5000;

/**
 * Brings the read models up by what became of orders. Call it last in the transaction that records the events: every order
 * counts in the same few rows, which are locked from here until it ends.
 */
export async function project(transaction: Kysely<OrdersTables>, changes: readonly OrderChange[]): Promise<void> {
  await writeOrders(transaction, changes);
  await writeStatistics(transaction, changes);
}

/** Projects every event of the store onto empty read models. @returns how many events */
export async function projectAll(
  transaction: Kysely<OrdersTables>,
  onEvents?: (count: number) => void,
): Promise<number> {
  const store = new OrderEventStore(transaction);
  let position = 0;
  let count = 0;
  for (;;) {
    const events = await store.after(position, BATCH);
    const last = events.at(-1);
    if (!last) return count;
    await projectEvents(transaction, events);
    position = last.position;
    count += events.length;
    onEvents?.(events.length);
  }
}

/**
 * Brings the read models up by events, each order's in order, which must follow what they hold already.
 *
 * @throws BrokenOrderStreamError when the events do not follow
 */
export async function projectEvents(
  transaction: Kysely<OrdersTables>,
  events: readonly RecordedOrderEvent[],
): Promise<void> {
  const existing = events.filter((event) => event.version > 1).map((event) => event.orderId);
  const before = await readOrders(transaction, [...new Set(existing)]);
  const after = new Map<string, Order>();
  for (const event of events) {
    const current = after.get(event.orderId) ?? before.get(event.orderId) ?? null;
    after.set(event.orderId, evolve(current, event));
  }
  await project(
    transaction,
    [...after.values()].map((order) => ({ before: before.get(order.id) ?? null, after: order })),
  );
}

async function writeOrders(transaction: Kysely<OrdersTables>, changes: readonly OrderChange[]): Promise<void> {
  const db = transaction as unknown as Kysely<never>;
  const orders = changes.map(({ after }) => ({
    id: after.id,
    number: after.number,
    status: after.status,
    customer_id: after.customerId,
    currency: after.currency,
    total: after.total,
    placed_at: after.placedAt,
    updated_at: after.updatedAt,
    version: after.version,
    rejection: after.rejection,
  }));
  const orderColumns = {
    id: 'text',
    number: 'text',
    status: 'text',
    customer_id: 'text',
    currency: 'text',
    total: 'numeric',
    placed_at: 'timestamptz',
    updated_at: 'timestamptz',
    version: 'integer',
    rejection: 'text',
  };
  await bulkInsert(db, 'orders_read', orderColumns, orders, {
    onConflict: sql`on conflict (id) do update set
      status = excluded.status, total = excluded.total, updated_at = excluded.updated_at,
      version = excluded.version, rejection = excluded.rejection`,
  });

  const written = changes.filter(({ before, after }) => before?.lines !== after.lines);
  const items = written.flatMap(({ after }) =>
    after.lines.map((line, position) => ({
      order_id: after.id,
      position,
      product_id: line.productId,
      quantity: line.quantity,
      unit_price: line.unitPrice,
      discount: line.discount,
      line_total: line.lineTotal,
    })),
  );
  const itemColumns = {
    order_id: 'text',
    position: 'integer',
    product_id: 'text',
    quantity: 'integer',
    unit_price: 'numeric',
    discount: 'numeric',
    line_total: 'numeric',
  };
  // An order's lines stay the same lines; their prices may change while it is placed.
  await bulkInsert(db, 'order_items_read', itemColumns, items, {
    onConflict: sql`on conflict (order_id, position) do update set
      unit_price = excluded.unit_price, line_total = excluded.line_total`,
  });
}

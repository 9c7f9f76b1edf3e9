import { type LoggedEvent, NO_ORIGIN, type Origin } from '@tributary/bus';
import { type NewEvent, recordEvents } from '@tributary/events';
import type { Kysely } from 'kysely';
import { sql } from 'kysely';
import { z } from 'zod';
import { type AppendedOrder, OrderEventStore } from './order/event-store.js';
import { evolve, type Order } from './order/order.js';
import type { OrderEvent } from './order/order-events.js';
import type { OrdersTables } from './storage/tables.js';

const BATCH = 1000;

const touchingSchema = z.object({ customerId: z.string(), lines: z.array(z.object({ productId: z.string() })) });

/** The event that other services receive: what happened, and the whole order after it, so that the newest event alone is enough. */
export function orderEvent(type: OrderEvent['type'], before: Order | null, after: Order): NewEvent {
  const { number, customerId, status, currency, lines, total } = after;
  return {
    type,
    schemaVersion: 1,
    aggregateType: 'Order',
    aggregateId: after.id,
    aggregateVersion: after.version,
    data: { number, customerId, status, currency, lines, total, ...(before && { previousStatus: before.status }) },
    occurredAt: after.updatedAt,
  };
}

/** The events for other services, one for each event that was appended. */
export function orderEventsOf({ before, recorded }: AppendedOrder, origin: Origin): NewEvent[] {
  let state = before;
  return recorded.map((event) => {
    const after = evolve(state, event);
    const published = { ...orderEvent(event.type, state, after), origin };
    state = after;
    return published;
  });
}

/** An order's change invalidates the order, its customer (orders and statistics), and its products (sales). */
export function invalidatedBy({ aggregateType, aggregateId, data }: LoggedEvent): string[] {
  if (aggregateType === 'Placement') return [`Order:${aggregateId}`];
  // An event in another shape must not keep the relay from publishing those after it.
  const order = touchingSchema.safeParse(data);
  if (!order.success) return [`Order:${aggregateId}`];
  const { customerId, lines } = order.data;
  return [`Order:${aggregateId}`, `User:${customerId}`, ...lines.map(({ productId }) => `Product:${productId}`)];
}

/** Records one event for each order, with its state: for orders of an import, and of a release that published no events. */
export async function recordExistingOrders(
  transaction: Kysely<OrdersTables>,
  onOrders?: (count: number) => void,
): Promise<void> {
  const store = new OrderEventStore(transaction);
  let last = '';
  for (;;) {
    const { rows } = await sql<{ order_id: string; last_type: OrderEvent['type'] }>`
      select order_id, (array_agg(type order by version desc))[1] as last_type
      from order_events where order_id > ${last} group by order_id order by order_id limit ${BATCH}
    `.execute(transaction);
    if (rows.length === 0) return;
    const orders = await store.load(rows.map((row) => row.order_id));
    const events = rows.flatMap(({ order_id: id, last_type: type }) => {
      const order = orders.get(id);
      return order ? [orderEvent(type, null, order)] : [];
    });
    await recordEvents(transaction, events, NO_ORIGIN);
    onOrders?.(events.length);
    last = rows.at(-1)?.order_id ?? last;
  }
}

import { type Kysely, type SqlBool, sql } from 'kysely';
import type { Order } from '../order/order.js';
import type { OrderLine } from '../order/order-events.js';
import type { OrderItemRow, OrderRow, OrdersTables } from '../storage/tables.js';

/** An order before and after a batch of events; `before` is null for a new one. */
export interface OrderChange {
  readonly before: Order | null;
  readonly after: Order;
}

/** The orders that the read model holds, by id: the state from which a projection goes on. */
export async function readOrders(db: Kysely<OrdersTables>, ids: readonly string[]): Promise<Map<string, Order>> {
  if (ids.length === 0) return new Map();
  const rows = await db.selectFrom('orders_read').selectAll().where(sql<SqlBool>`id = any(${ids})`).execute();
  const items = await db
    .selectFrom('order_items_read')
    .selectAll()
    .where(sql<SqlBool>`order_id = any(${ids})`)
    .orderBy('order_id')
    .orderBy('position')
    .execute();
  const lines = new Map<string, OrderLine[]>(rows.map((row) => [row.id, []]));
  for (const item of items) lines.get(item.order_id)?.push(readLine(item));
  return new Map(rows.map((row) => [row.id, readOrder(row, lines.get(row.id) ?? [])]));
}

function readOrder(row: OrderRow, lines: readonly OrderLine[]): Order {
  return {
    id: row.id,
    number: row.number,
    status: row.status,
    customerId: row.customer_id,
    currency: row.currency,
    lines,
    total: row.total,
    placedAt: row.placed_at,
    updatedAt: row.updated_at,
    version: row.version,
    rejection: row.rejection,
  };
}

/** A line of an order, from its row. */
export function readLine(row: OrderItemRow): OrderLine {
  return {
    productId: row.product_id,
    quantity: row.quantity,
    unitPrice: row.unit_price,
    discount: row.discount,
    lineTotal: row.line_total,
  };
}

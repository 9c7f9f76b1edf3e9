import type { LoggedEvent } from '@tributary/bus';
import { type Kysely, sql } from 'kysely';
import { z } from 'zod';
import type { ProductsTables } from './storage/tables.js';

/** The fields of an order's event that this service reads; others may be added or removed. */
const orderSchema = z.object({
  lines: z.array(z.object({ productId: z.string(), quantity: z.number().int() })),
  previousStatus: z.string().optional(),
});

/** Whether an event of orders changes what was sold. */
export const isSale = ({ type, aggregateType }: LoggedEvent) =>
  aggregateType === 'Order' && (type === 'OrderConfirmed' || type === 'OrderCancelled');

/** Maintains the units of each product that confirmed orders sold, by which best-sellers are sorted. The orders service owns the number. */
export async function copySales(transaction: Kysely<ProductsTables>, events: readonly LoggedEvent[]): Promise<void> {
  const sold = new Map<string, number>();
  for (const { type, data } of events.filter(isSale)) {
    const { lines, previousStatus } = orderSchema.parse(data);
    if (type === 'OrderCancelled' && previousStatus !== 'CONFIRMED') continue;
    const sign = type === 'OrderConfirmed' ? 1 : -1;
    for (const { productId, quantity } of lines) sold.set(productId, (sold.get(productId) ?? 0) + sign * quantity);
  }
  const rows = [...sold].filter(([, units]) => units !== 0).map(([id, units]) => ({ id, units }));
  if (rows.length === 0) return;
  // Locked in one order, as everywhere.
  await sql`
    with locked as (
      select products.id, sales.units
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as sales (id text, units bigint)
      join products on products.id = sales.id order by products.id for no key update of products
    )
    update products set units_sold = units_sold + locked.units from locked where products.id = locked.id
  `.execute(transaction);
}

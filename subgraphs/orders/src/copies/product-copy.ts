import type { ApplyEvents } from '@tributary/events';
import { bulkInsert } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { z } from 'zod';
import type { OrdersTables } from '../storage/tables.js';

/** The fields of a product's event that this service reads; others may be added or removed. */
const productSchema = z.object({ sku: z.string(), name: z.string(), price: z.string() });

const PRODUCT_COLUMNS = { id: 'text', sku: 'text', name: 'text', price: 'numeric', version: 'integer' };

/** Keeps what orders show of products: SKU, name and price. A version that is not newer changes nothing. */
export const copyProductsTo =
  (table: string): ApplyEvents<OrdersTables> =>
  async (transaction, events) => {
    const rows = new Map<string, { id: string; sku: string; name: string; price: string; version: number }>();
    for (const { aggregateType, aggregateId, aggregateVersion, data } of events) {
      if (aggregateType !== 'Product') continue;
      if ((rows.get(aggregateId)?.version ?? 0) >= aggregateVersion) continue;
      const { sku, name, price } = productSchema.parse(data);
      rows.set(aggregateId, { id: aggregateId, sku, name, price, version: aggregateVersion });
    }
    await bulkInsert(transaction as unknown as Kysely<never>, table, PRODUCT_COLUMNS, [...rows.values()], {
      onConflict: sql`on conflict (id) do update set
      sku = excluded.sku, name = excluded.name, price = excluded.price, version = excluded.version
      where stored.version < excluded.version`,
    });
  };

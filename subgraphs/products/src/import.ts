import { bulkInsert } from '@tributary/postgres';
import type { LoadHistory } from '@tributary/subgraph';
import { type Kysely, sql } from 'kysely';
import { recordImportedRows } from './storage/migrations.js';
import type { ProductsTables } from './storage/tables.js';

/** Units of every product that an import adds to the stock; the source has no stock. */
const OPENING_STOCK = 100;

/** Writes the catalogue of the Superstore history, with an opening stock, and its events for other services. */
export const importCatalogue: LoadHistory<ProductsTables> = async (transaction, { products }, onRows) => {
  const db = transaction as unknown as Kysely<never>;
  const rows = products.map((product) => ({
    id: product.id,
    sku: product.id,
    name: product.name,
    category: product.category,
    sub_category: product.subCategory,
    price: product.price,
    attributes: product.attributes,
    created_at: product.createdAt,
    updated_at: product.createdAt,
  }));
  const columns = {
    id: 'text',
    sku: 'text',
    name: 'text',
    category: 'text',
    sub_category: 'text',
    price: 'numeric',
    attributes: 'jsonb',
    created_at: 'timestamptz',
    updated_at: 'timestamptz',
  };
  await bulkInsert(db, 'products', columns, rows, { onRows });
  await sql`insert into stock (product_id, on_hand) select id, ${OPENING_STOCK}::integer from products`.execute(db);
  await sql`
    insert into stock_receipts (product_id, quantity, reason)
    select product_id, on_hand, 'opening stock' from stock order by product_id
  `.execute(db);
  await recordImportedRows(transaction as unknown as Kysely<unknown>);
  await sql`analyze outbox, products, stock, stock_receipts, category_counts`.execute(db);
};

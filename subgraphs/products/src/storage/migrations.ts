import type { Migrations } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { migration as m0001 } from './migrations/0001-products.js';
import { migration as m0002 } from './migrations/0002-category-counts.js';
import { migration as m0003 } from './migrations/0003-events.js';
import { migration as m0004 } from './migrations/0004-reservations.js';
import { migration as m0005 } from './migrations/0005-keys-depth-and-search.js';
import { migration as m0006 } from './migrations/0006-relay-lease.js';
import { migration as m0007 } from './migrations/0007-copies-in-sync.js';
import { migration as m0008 } from './migrations/0008-beside-the-release-before.js';

/** What an event of a product says of its row. */
const PRODUCT_EVENT_DATA = sql.raw(`jsonb_build_object(
  'sku', sku, 'name', name, 'category', category, 'subCategory', sub_category,
  'price', price::text, 'attributes', attributes, 'status', status
)`);

/** The migrations of the database. Each file is frozen: a released one is never edited, a change is a new migration. */
export const migrations: Migrations = {
  '0001-products': m0001,
  '0002-category-counts': m0002,
  '0003-events': m0003,
  '0004-reservations': m0004,
  '0005-keys-depth-and-search': m0005,
  '0006-relay-lease': m0006,
  '0007-copies-in-sync': m0007,
  '0008-beside-the-release-before': m0008,
};

/** Records events for rows that an import wrote into the tables without events. */
export async function recordImportedRows(db: Kysely<unknown>): Promise<void> {
  await sql`
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'ProductCreated', 1, 'Product', id, version, updated_at,
      ${PRODUCT_EVENT_DATA}
    from products order by created_at, id
  `.execute(db);
  await sql`
    update stock set version = (select count(*) from stock_receipts where stock_receipts.product_id = stock.product_id)
  `.execute(db);
  await sql`
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    select gen_random_uuid(), 'StockReceived', 1, 'Stock', product_id, row_number() over (partition by product_id order by id), at,
      jsonb_build_object(
        'quantity', quantity, 'onHand', sum(quantity) over (partition by product_id order by id), 'reason', reason
      )
    from stock_receipts order by id
  `.execute(db);
}

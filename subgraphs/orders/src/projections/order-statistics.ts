import { bulkInsert } from '@tributary/postgres';
import Big from 'big.js';
import { type Kysely, sql } from 'kysely';
import type { Order } from '../order/order.js';
import type { OrdersTables } from '../storage/tables.js';
import type { OrderChange } from './stored-orders.js';

/** The customer under whom `order_counts` keeps the counts of all customers. */
export const ALL_CUSTOMERS = '';

/**
 * Adds to the counts and statistics what a batch of changes makes of them. An order counts by what it is now, less what
 * it was before, so every kind of event is right without a rule of its own. The orders are written before.
 */
export async function writeStatistics(
  transaction: Kysely<OrdersTables>,
  changes: readonly OrderChange[],
): Promise<void> {
  const statistics = new Statistics();
  for (const { before, after } of changes) {
    if (before) statistics.add(before, -1);
    statistics.add(after, 1);
  }
  const db = transaction as unknown as Kysely<never>;
  await writeCounts(db, statistics.counts());
  await writeUserStats(db, statistics.userStats());
  await writeProductSales(db, statistics.productSales());
}

async function writeCounts(db: Kysely<never>, rows: ReturnType<Statistics['counts']>): Promise<void> {
  await bulkInsert(db, 'order_counts', { customer_id: 'text', status: 'text', count: 'bigint' }, rows, {
    onConflict: sql`on conflict (customer_id, status) do update set count = stored.count + excluded.count`,
  });
  // A count of 0 has no row, as in statistics that are rebuilt.
  const fewer = rows.filter(({ count }) => count < 0);
  if (fewer.length === 0) return;
  await sql`
    delete from order_counts using jsonb_to_recordset(${JSON.stringify(fewer)}::jsonb) as fewer (customer_id text, status text)
    where order_counts.customer_id = fewer.customer_id and order_counts.status = fewer.status and order_counts.count = 0
  `.execute(db);
}

async function writeUserStats(db: Kysely<never>, rows: ReturnType<Statistics['userStats']>): Promise<void> {
  const columns = { user_id: 'text', order_count: 'bigint', total_spent: 'numeric', last_order_at: 'timestamptz' };
  await bulkInsert(
    db,
    'user_order_stats',
    columns,
    rows.map(({ fewer: _, ...row }) => row),
    {
      onConflict: sql`on conflict (user_id) do update set
      order_count = stored.order_count + excluded.order_count, total_spent = stored.total_spent + excluded.total_spent,
      last_order_at = greatest(stored.last_order_at, excluded.last_order_at)`,
    },
  );
  const fewer = rows.filter((row) => row.fewer).map((row) => row.user_id);
  if (fewer.length === 0) return;
  // When the latest order is cancelled, the one before it is the latest.
  await sql`
    update user_order_stats set last_order_at = (
      select max(placed_at) from orders_read where customer_id = user_id and status = 'CONFIRMED'
    ) where user_id = any(${fewer})
  `.execute(db);
  await sql`delete from user_order_stats where user_id = any(${fewer}) and order_count = 0`.execute(db);
}

async function writeProductSales(db: Kysely<never>, rows: ReturnType<Statistics['productSales']>): Promise<void> {
  const columns = { product_id: 'text', units_sold: 'bigint', revenue: 'numeric', order_count: 'bigint' };
  await bulkInsert(db, 'product_sales', columns, rows, {
    onConflict: sql`on conflict (product_id) do update set
      units_sold = stored.units_sold + excluded.units_sold, revenue = stored.revenue + excluded.revenue,
      order_count = stored.order_count + excluded.order_count`,
  });
  const fewer = rows.filter(({ order_count: count }) => count < 0).map((row) => row.product_id);
  if (fewer.length === 0) return;
  await sql`delete from product_sales where product_id = any(${fewer}) and order_count = 0`.execute(db);
}

interface UserStatistics {
  readonly user_id: string;
  readonly order_count: number;
  readonly total_spent: Big;
  readonly last_order_at: Date | null;
  /** Whether an order that counted does not count any more. */
  readonly fewer: boolean;
}

/** Sums up orders; every list comes sorted by its key, so that concurrent writers lock rows in one order. */
class Statistics {
  readonly #counts = new Map<string, { customer_id: string; status: string; count: number }>();
  readonly #users = new Map<string, UserStatistics>();
  readonly #products = new Map<string, { product_id: string; units_sold: number; revenue: Big; order_count: number }>();

  add(order: Order, sign: 1 | -1): void {
    for (const customer of [ALL_CUSTOMERS, order.customerId]) {
      const key = JSON.stringify([customer, order.status]);
      const count = this.#counts.get(key)?.count ?? 0;
      this.#counts.set(key, { customer_id: customer, status: order.status, count: count + sign });
    }
    if (order.status === 'CONFIRMED') this.#addPurchase(order, sign);
  }

  #addPurchase(order: Order, sign: 1 | -1): void {
    const user = this.#users.get(order.customerId);
    const lastOrderAt = user?.last_order_at ?? null;
    const isLater = sign === 1 && (lastOrderAt === null || order.placedAt > lastOrderAt);
    this.#users.set(order.customerId, {
      user_id: order.customerId,
      order_count: (user?.order_count ?? 0) + sign,
      total_spent: (user?.total_spent ?? new Big(0)).plus(new Big(order.total).times(sign)),
      last_order_at: isLater ? order.placedAt : lastOrderAt,
      fewer: sign === -1 || (user?.fewer ?? false),
    });
    const seen = new Set<string>();
    for (const { productId, quantity, lineTotal } of order.lines) {
      const product = this.#products.get(productId);
      this.#products.set(productId, {
        product_id: productId,
        units_sold: (product?.units_sold ?? 0) + quantity * sign,
        revenue: (product?.revenue ?? new Big(0)).plus(new Big(lineTotal).times(sign)),
        // An order that lists a product on two lines is one order of it.
        order_count: (product?.order_count ?? 0) + (seen.has(productId) ? 0 : sign),
      });
      seen.add(productId);
    }
  }

  counts() {
    return sorted(this.#counts).filter(({ count }) => count !== 0);
  }

  userStats() {
    return sorted(this.#users).map((row) => ({ ...row, total_spent: row.total_spent.toFixed(2) }));
  }

  productSales() {
    return sorted(this.#products).map((row) => ({ ...row, revenue: row.revenue.toFixed(2) }));
  }
}

function sorted<Row>(rows: ReadonlyMap<string, Row>): Row[] {
  return [...rows].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}

import type { PageRequest } from '@tributary/subgraph';
import { type Kysely, type SqlBool, sql } from 'kysely';
import type { OrderStatusName } from './order/order.js';
import { readSaga, type SagaRow, type StoredSaga } from './placement/saga-store.js';
import { ALL_CUSTOMERS } from './projections/order-statistics.js';
import type {
  OrderItemRow,
  OrderRow,
  OrdersTables,
  ProductCopyRow,
  ProductSalesRow,
  UserCopyRow,
  UserOrderStatsRow,
} from './storage/tables.js';

/** Which orders to list; a field that is not given does not filter. */
export interface OrderFilterValues {
  readonly status?: OrderStatusName | null | undefined;
  readonly customerId?: string | null | undefined;
  readonly placedAfter?: Date | null | undefined;
  readonly placedBefore?: Date | null | undefined;
}

/** Reads orders from the read models, and what they show of users and products from the copies. */
export class Orders {
  readonly #db: Kysely<OrdersTables>;

  constructor(db: Kysely<OrdersTables>) {
    this.#db = db;
  }

  /** Newest first, one more than the page holds. */
  async list(page: PageRequest, filter: OrderFilterValues): Promise<OrderRow[]> {
    let query = this.#filtered(filter)
      .selectAll()
      .orderBy('placed_at', 'desc')
      .orderBy('id', 'desc')
      .limit(page.first + 1);
    if (page.after) {
      const [placedAt, id] = page.after;
      query = query.where(sql<SqlBool>`(placed_at, id) < (${placedAt}::timestamptz, ${id})`);
    }
    return query.execute();
  }

  /** From the maintained counts, unless the filter has dates. */
  async count(filter: OrderFilterValues): Promise<number> {
    // No customer has the id under which the counts of all are stored.
    if (filter.customerId === ALL_CUSTOMERS) return 0;
    if (filter.placedAfter == null && filter.placedBefore == null) {
      let counts = this.#db
        .selectFrom('order_counts')
        .select((eb) => eb.fn.sum<string | null>('count').as('count'))
        .where('customer_id', '=', filter.customerId ?? ALL_CUSTOMERS);
      if (filter.status != null) counts = counts.where('status', '=', filter.status);
      return Number((await counts.executeTakeFirstOrThrow()).count ?? 0);
    }
    const counted = await this.#filtered(filter)
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return counted.count;
  }

  /** The same page of several customers' orders, each newest first, one more row each than the page holds. */
  async ofCustomers(customerIds: readonly string[], page: PageRequest, status: string | null): Promise<OrderRow[]> {
    const [placedAt = null, id = null] = page.after ?? [];
    const after = page.after ? sql`and (placed_at, id) < (${placedAt}::timestamptz, ${id})` : sql``;
    const inStatus = status === null ? sql`` : sql`and status = ${status}`;
    const { rows } = await sql<OrderRow>`
      select theirs.*
      from unnest(${customerIds}::text[]) as requested (customer_id)
      cross join lateral (
        select * from orders_read
        where orders_read.customer_id = requested.customer_id ${inStatus} ${after}
        order by placed_at desc, id desc
        limit ${page.first + 1}
      ) as theirs
      order by theirs.customer_id, theirs.placed_at desc, theirs.id desc
    `.execute(this.#db);
    return rows;
  }

  async countsOfCustomers(
    customerIds: readonly string[],
    status: string | null,
  ): Promise<{ customer_id: string; count: string }[]> {
    let query = this.#db
      .selectFrom('order_counts')
      .select((eb) => ['customer_id', eb.fn.sum<string>('count').as('count')])
      .where(sql<SqlBool>`customer_id = any(${customerIds})`)
      .where('customer_id', '<>', ALL_CUSTOMERS)
      .groupBy('customer_id');
    if (status !== null) query = query.where('status', '=', status as OrderStatusName);
    return query.execute();
  }

  async byIds(ids: readonly string[]): Promise<OrderRow[]> {
    return this.#db.selectFrom('orders_read').selectAll().where(sql<SqlBool>`id = any(${ids})`).execute();
  }

  /** An order and the saga that placed it, as they were at one moment; an imported order has no saga. */
  async withSaga(id: string): Promise<{ readonly order: OrderRow; readonly saga: StoredSaga | null } | null> {
    const row = await this.#db
      .selectFrom('orders_read as orders')
      .leftJoin('placement_sagas as sagas', 'sagas.order_id', 'orders.id')
      .selectAll('orders')
      .select((eb) => eb.fn.toJson('sagas').as('saga'))
      .where('orders.id', '=', id)
      .executeTakeFirst();
    if (!row) return null;
    const { saga, ...order } = row;
    return { order, saga: saga && readSaga(saga as SagaRow) };
  }

  async byNumbers(numbers: readonly string[]): Promise<OrderRow[]> {
    return this.#db.selectFrom('orders_read').selectAll().where(sql<SqlBool>`number = any(${numbers})`).execute();
  }

  async itemsOf(orderIds: readonly string[]): Promise<OrderItemRow[]> {
    return this.#db
      .selectFrom('order_items_read')
      .selectAll()
      .where(sql<SqlBool>`order_id = any(${orderIds})`)
      .orderBy('order_id')
      .orderBy('position')
      .execute();
  }

  async userCopies(ids: readonly string[]): Promise<UserCopyRow[]> {
    return this.#db.selectFrom('users_copy').selectAll().where(sql<SqlBool>`id = any(${ids})`).execute();
  }

  async productCopies(ids: readonly string[]): Promise<ProductCopyRow[]> {
    return this.#db.selectFrom('products_copy').selectAll().where(sql<SqlBool>`id = any(${ids})`).execute();
  }

  async userStats(userIds: readonly string[]): Promise<UserOrderStatsRow[]> {
    return this.#db.selectFrom('user_order_stats').selectAll().where(sql<SqlBool>`user_id = any(${userIds})`).execute();
  }

  async productSales(productIds: readonly string[]): Promise<ProductSalesRow[]> {
    return this.#db
      .selectFrom('product_sales')
      .selectAll()
      .where(sql<SqlBool>`product_id = any(${productIds})`)
      .execute();
  }

  #filtered({ status, customerId, placedAfter, placedBefore }: OrderFilterValues) {
    let query = this.#db.selectFrom('orders_read');
    if (status != null) query = query.where('status', '=', status);
    if (customerId != null) query = query.where('customer_id', '=', customerId);
    if (placedAfter != null) query = query.where('placed_at', '>', placedAfter);
    if (placedBefore != null) query = query.where('placed_at', '<', placedBefore);
    return query;
  }
}

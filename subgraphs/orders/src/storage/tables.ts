import type { ColumnType, Generated, Selectable } from 'kysely';
import type { OrderStatusName } from '../order/order.js';
import type { OrderEvent } from '../order/order-events.js';
import type { Saga, SagaStatusName } from '../placement/saga.js';

/** The truth: every event of every order, never changed. */
interface OrderEventTable {
  /** Grows in the order of insertion. */
  position: Generated<number>;
  order_id: string;
  version: number;
  type: OrderEvent['type'];
  /** The shape of `data`. */
  schema_version: number;
  data: ColumnType<OrderEvent['data'], string, never>;
  /** When it happened. */
  at: Date;
  recorded_at: ColumnType<Date, never, never>;
}

/** How far the placement of each order is. A row stays for ever: it is what makes a request place one order. */
interface PlacementSagaTable {
  /** The saga has its order's id. */
  order_id: string;
  customer_id: string;
  /** Unique for the customer. */
  idempotency_key: string;
  /** The request under that key, as JSON text: another request under it is refused. */
  request: string;
  status: SagaStatusName;
  steps: ColumnType<Saga['steps'], string, string>;
  /** Why it goes back; null while it goes forward. */
  failure: string | null;
  cancelled: boolean;
  /** Commands sent so far. */
  commands: number;
  correlation_id: string | null;
  traceparent: string | null;
  /** When to act if no answer comes; null when nothing is awaited. By the database's clock. */
  due_at: Date | null;
  started_at: Date;
  finished_at: Date | null;
}

/** Read model: what a list or a page of orders shows. */
interface OrderReadTable {
  id: string;
  number: string;
  status: OrderStatusName;
  customer_id: string;
  currency: string;
  total: string;
  placed_at: Date;
  updated_at: Date;
  version: number;
  rejection: string | null;
}

/** Read model: the lines of orders, in their order. */
interface OrderItemReadTable {
  order_id: string;
  position: number;
  product_id: string;
  quantity: number;
  unit_price: string;
  discount: string;
  line_total: string;
}

/** Read model: how many orders there are, in each status; per customer, and ('') of all. */
interface OrderCountTable {
  customer_id: string;
  status: OrderStatusName;
  count: number;
}

/** Read model: what a customer bought with confirmed orders. */
interface UserOrderStatsTable {
  user_id: string;
  order_count: number;
  total_spent: string;
  /** When the latest of these orders was placed. */
  last_order_at: Date | null;
}

/** Read model: what confirmed orders sold of a product. */
interface ProductSalesTable {
  product_id: string;
  units_sold: number;
  revenue: string;
  order_count: number;
}

/** Copy: what orders show of a user. The users service owns it, and its events feed it. */
interface UserCopyTable {
  id: string;
  name: string;
  email: string;
  version: number;
  /** The user was deleted; no later event changes this row. */
  deleted: boolean;
}

/** Copy: what orders show of a product. The products service owns it, and its events feed it. */
interface ProductCopyTable {
  id: string;
  sku: string;
  name: string;
  price: string;
  version: number;
}

export interface OrdersTables {
  order_events: OrderEventTable;
  placement_sagas: PlacementSagaTable;
  orders_read: OrderReadTable;
  order_items_read: OrderItemReadTable;
  order_counts: OrderCountTable;
  user_order_stats: UserOrderStatsTable;
  product_sales: ProductSalesTable;
  users_copy: UserCopyTable;
  products_copy: ProductCopyTable;
}

export type OrderRow = Selectable<OrderReadTable>;
export type PlacementSagaRow = Selectable<PlacementSagaTable>;
export type OrderItemRow = Selectable<OrderItemReadTable>;
export type OrderCountRow = Selectable<OrderCountTable>;
export type UserOrderStatsRow = Selectable<UserOrderStatsTable>;
export type ProductSalesRow = Selectable<ProductSalesTable>;
export type UserCopyRow = Selectable<UserCopyTable>;
export type ProductCopyRow = Selectable<ProductCopyTable>;

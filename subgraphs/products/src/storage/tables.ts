import type { ColumnType, Generated, Selectable } from 'kysely';

export type ProductStatusName = 'ACTIVE' | 'DISCONTINUED';

/** Set by the database when a row is made, given by the program when it changes. */
type Timestamp = ColumnType<Date, Date | undefined, Date>;

interface ProductTable {
  id: string;
  sku: string;
  name: string;
  category: string;
  sub_category: string;
  price: string;
  attributes: ColumnType<Record<string, unknown>, string, string>;
  status: Generated<ProductStatusName>;
  /** A copy: the orders service owns it. Products are sorted by it (BEST_SELLING). */
  units_sold: Generated<number>;
  created_at: Timestamp;
  updated_at: Timestamp;
  version: Generated<number>;
}

/** Apart from `products`, because it changes at another pace: a sale is no change of the product. */
interface StockTable {
  product_id: string;
  /** All that ever came in, less `sold`. */
  on_hand: number;
  /** Of these, held for orders that are being placed. */
  reserved: Generated<number>;
  /** All that ever went out, less what was taken back. */
  sold: Generated<number>;
  /** Grows by one with each change of the units on hand or held. */
  version: Generated<number>;
}

export type ReservationStatusName = 'HELD' | 'COMMITTED' | 'RELEASED' | 'EXPIRED' | 'REFUSED';

/** A line of a reservation; the price is the product's at the moment of reserving. */
export interface ReservedLine {
  readonly productId: string;
  readonly quantity: number;
  readonly unitPrice: string;
}

/** What became of each order's stock. A row stays for ever: it is what makes a command take effect once. */
interface ReservationTable {
  order_id: string;
  status: ReservationStatusName;
  /** One line per product; empty when nothing was ever held. */
  lines: ColumnType<readonly ReservedLine[], string, string>;
  /** Why it was refused. */
  refusal: ColumnType<{ readonly code: string; readonly reason: string } | null, string | null, string | null>;
  expires_at: Date;
  /** Grows by one at every answer. */
  version: number;
  created_at: Timestamp;
  updated_at: Timestamp;
}

/** Every receipt of units, so that the stock can be audited. */
interface StockReceiptTable {
  id: Generated<number>;
  product_id: string;
  quantity: number;
  reason: string;
  idempotency_key: string | null;
  at: Timestamp;
}

/** Row counts maintained by triggers, so that totals and categories cost a few rows. */
interface CategoryCountTable {
  category: string;
  sub_category: string;
  count: number;
}

export interface ProductsTables {
  products: ProductTable;
  stock: StockTable;
  stock_receipts: StockReceiptTable;
  reservations: ReservationTable;
  category_counts: CategoryCountTable;
}

export type ProductRow = Selectable<ProductTable>;
export type StockRow = Selectable<StockTable>;
export type ReservationRow = Selectable<ReservationTable>;
export type CategoryCountRow = Selectable<CategoryCountTable>;

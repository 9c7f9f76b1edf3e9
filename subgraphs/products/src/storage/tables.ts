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
  /** A copy: orders owns the figure. Best-selling order is sorted by it. */
  units_sold: Generated<number>;
  created_at: Timestamp;
  updated_at: Timestamp;
  version: Generated<number>;
}

/** Apart from `products`, because it changes at another pace: a sale is no change of the product. */
interface StockTable {
  product_id: string;
  on_hand: number;
  reserved: Generated<number>;
  /** Grows by one whenever pieces come or go. */
  version: Generated<number>;
}

/** Every piece that came in, so that the stock can be accounted for. */
interface StockReceiptTable {
  id: Generated<number>;
  product_id: string;
  quantity: number;
  reason: string;
  idempotency_key: string | null;
  at: Timestamp;
}

/** Row counts kept by triggers, so that totals and categories cost a few rows. */
interface CategoryCountTable {
  category: string;
  sub_category: string;
  count: number;
}

export interface ProductsTables {
  products: ProductTable;
  stock: StockTable;
  stock_receipts: StockReceiptTable;
  category_counts: CategoryCountTable;
}

export type ProductRow = Selectable<ProductTable>;
export type StockRow = Selectable<StockTable>;
export type CategoryCountRow = Selectable<CategoryCountTable>;

import { type Kysely, sql } from 'kysely';
import type { OrderedItem } from '../order/order-commands.js';
import type { OrdersTables } from '../storage/tables.js';

/** What an order refers to. */
interface Referring {
  readonly customerId: string;
  readonly items: readonly OrderedItem[];
}

/** Customers and products that the copies have. */
export interface References {
  readonly customers: ReadonlySet<string>;
  /** Unit price by product id: what orders say until the products service has reserved their stock. */
  readonly quotes: ReadonlyMap<string, string>;
}

/** What an order refers to and the copies do not have. */
export interface MissingReferences {
  readonly users: readonly string[];
  readonly products: readonly string[];
}

/** Reads what the copies have of everything that these orders refer to, with one statement. */
export async function readReferences(db: Kysely<OrdersTables>, orders: readonly Referring[]): Promise<References> {
  const customerIds = [...new Set(orders.map(({ customerId }) => customerId))];
  const productIds = [...new Set(orders.flatMap(({ items }) => items.map(({ productId }) => productId)))];
  const { rows } = await sql<{ id: string; price: string | null }>`
    select id, null::numeric as price from users_copy where id = any(${customerIds})
    union all
    select id, price from products_copy where id = any(${productIds})
  `.execute(db);
  const customers = new Set<string>();
  const quotes = new Map<string, string>();
  for (const { id, price } of rows) {
    if (price === null) customers.add(id);
    else quotes.set(id, price);
  }
  return { customers, quotes };
}

/** @returns null when the copies have everything that the order refers to */
export function missingReferences(
  { customerId, items }: Referring,
  { customers, quotes }: References,
): MissingReferences | null {
  const users = customers.has(customerId) ? [] : [customerId];
  const products = [...new Set(items.map(({ productId }) => productId))].filter((id) => !quotes.has(id));
  return users.length === 0 && products.length === 0 ? null : { users, products };
}

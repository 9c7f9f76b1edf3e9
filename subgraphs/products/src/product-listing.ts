import { badUserInput } from '@tributary/server';
import {
  encodeCursor,
  type KeysetPosition,
  optionalExact,
  optionalSearch,
  type PageRequest,
  type PositionType,
  pageRequest,
} from '@tributary/subgraph';
import Big from 'big.js';
import { type Kysely, type RawBuilder, type SqlBool, sql } from 'kysely';
import type { ProductRow, ProductStatusName, ProductsTables } from './storage/tables.js';

export type ProductSortName = 'NAME' | 'PRICE_ASC' | 'PRICE_DESC' | 'NEWEST' | 'BEST_SELLING';

/** Which products to list; a field that is not given does not filter. Prices are decimal strings. */
export interface ProductFilterValues {
  readonly category?: string | null | undefined;
  readonly subCategory?: string | null | undefined;
  readonly status?: ProductStatusName | null | undefined;
  readonly minPrice?: string | null | undefined;
  readonly maxPrice?: string | null | undefined;
  readonly inStock?: boolean | null | undefined;
  readonly text?: string | null | undefined;
}

/** A keyset order: the column that sorts (the id breaks ties), and how its value travels in a cursor. */
interface SortOrder {
  readonly column: 'name' | 'price' | 'created_at' | 'units_sold';
  readonly type: 'text' | 'numeric' | 'timestamptz' | 'bigint';
  readonly descending: boolean;
  readonly cursorShape: PositionType;
  readonly valueOf: (row: ProductRow) => string | number;
}

const SORT_ORDERS: Readonly<Record<ProductSortName, SortOrder>> = {
  NAME: { column: 'name', type: 'text', descending: false, cursorShape: 'string', valueOf: (row) => row.name },
  PRICE_ASC: {
    column: 'price',
    type: 'numeric',
    descending: false,
    cursorShape: 'number',
    valueOf: (row) => Number(row.price),
  },
  PRICE_DESC: {
    column: 'price',
    type: 'numeric',
    descending: true,
    cursorShape: 'number',
    valueOf: (row) => Number(row.price),
  },
  NEWEST: {
    column: 'created_at',
    type: 'timestamptz',
    descending: true,
    cursorShape: 'date',
    valueOf: (row) => row.created_at.toISOString(),
  },
  BEST_SELLING: {
    column: 'units_sold',
    type: 'bigint',
    descending: true,
    cursorShape: 'integer',
    valueOf: (row) => row.units_sold,
  },
};

/** Checks the arguments of a product list. @throws ApiError BAD_USER_INPUT */
export function productPage(
  args: { first: number | null; after: string | null | undefined },
  sort: ProductSortName,
): PageRequest {
  return pageRequest(args, cursorName(sort), [SORT_ORDERS[sort].cursorShape, 'string']);
}

export function productCursor(sort: ProductSortName, row: ProductRow): string {
  const position: KeysetPosition = [SORT_ORDERS[sort].valueOf(row), row.id];
  return encodeCursor(cursorName(sort), position);
}

/** The page's products and one more. Rows that are inserted meanwhile neither repeat nor hide others. */
export async function listProducts(
  db: Kysely<ProductsTables>,
  page: PageRequest,
  filter: ProductFilterValues,
  sort: ProductSortName,
): Promise<ProductRow[]> {
  const { column, type, descending } = SORT_ORDERS[sort];
  const direction = descending ? 'desc' : 'asc';
  let query = db
    .selectFrom('products')
    .selectAll()
    .where(matches(filter))
    .orderBy(column, direction)
    .orderBy('id', direction)
    .limit(page.first + 1);
  if (page.after) {
    const [value, id] = page.after;
    const comparison = sql.raw(descending ? '<' : '>');
    query = query.where(sql<SqlBool>`(${sql.ref(column)}, id) ${comparison} (${value}::${sql.raw(type)}, ${id})`);
  }
  return query.execute();
}

/** How many products match: from the maintained counts where the filter names categories only, else counted. */
export async function countProducts(db: Kysely<ProductsTables>, filter: ProductFilterValues): Promise<number> {
  const { category, subCategory, ...rest } = filter;
  if (Object.values(rest).every((value) => value === null || value === undefined)) {
    let counts = db.selectFrom('category_counts').select((eb) => eb.fn.sum<string | null>('count').as('count'));
    const inCategory = optionalExact('filter.category', category);
    const inSubCategory = optionalExact('filter.subCategory', subCategory);
    if (inCategory !== null) counts = counts.where('category', '=', inCategory);
    if (inSubCategory !== null) counts = counts.where('sub_category', '=', inSubCategory);
    return Number((await counts.executeTakeFirstOrThrow()).count ?? 0);
  }
  const counted = await db
    .selectFrom('products')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where(matches(filter))
    .executeTakeFirstOrThrow();
  return counted.count;
}

function cursorName(sort: ProductSortName): string {
  return `products:${sort}`;
}

function matches(filter: ProductFilterValues): RawBuilder<SqlBool> {
  const { status, minPrice, maxPrice, inStock } = filter;
  const category = optionalExact('filter.category', filter.category);
  const subCategory = optionalExact('filter.subCategory', filter.subCategory);
  const text = optionalSearch('filter.text', filter.text);
  if (minPrice != null && maxPrice != null && new Big(minPrice).gt(maxPrice)) {
    throw badUserInput('filter.minPrice', `"minPrice" (${minPrice}) is above "maxPrice" (${maxPrice}).`, 'EMPTY_RANGE');
  }
  const conditions: RawBuilder<SqlBool>[] = [sql`true`];
  if (category != null) conditions.push(sql`category = ${category}`);
  if (subCategory != null) conditions.push(sql`sub_category = ${subCategory}`);
  if (status != null) conditions.push(sql`status = ${status}`);
  if (minPrice != null) conditions.push(sql`price >= ${minPrice}`);
  if (maxPrice != null) conditions.push(sql`price <= ${maxPrice}`);
  // A search for nothing but "the" or "of" has no word that is indexed, and limits as little as an empty one.
  if (text !== null) conditions.push(sql`(numnode(search_query(${text})) = 0 or search @@ search_query(${text}))`);
  if (inStock != null) {
    const available = sql`exists (select from stock where product_id = products.id and on_hand > reserved)`;
    conditions.push(inStock ? sql`${available}` : sql`not ${available}`);
  }
  return sql<SqlBool>`${sql.join(conditions, sql` and `)}`;
}

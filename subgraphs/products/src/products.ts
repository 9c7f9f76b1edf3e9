import { randomUUID } from 'node:crypto';
import type { Origin } from '@tributary/bus';
import { recordEvents } from '@tributary/events';
import { violatedUniqueConstraint } from '@tributary/postgres';
import { badUserInput, conflict, findJsonFault, MAX_JSON_DEPTH, notFound } from '@tributary/server';
import {
  MAX_COUNTER,
  requireAmount,
  requireId,
  requireIdempotencyKey,
  requireLine,
  requireQuantity,
} from '@tributary/subgraph';
import { type Kysely, type SqlBool, sql } from 'kysely';
import { type ProductEventType, productEvent, stockReceived } from './product-events.js';
import type { CategoryCountRow, ProductRow, ProductsTables, StockRow } from './storage/tables.js';

const MAX_ATTRIBUTES_LENGTH = 20_000;

export interface NewProduct {
  readonly sku: string;
  readonly name: string;
  readonly category: string;
  readonly subCategory: string;
  /** A decimal string. */
  readonly price: string;
  readonly attributes?: unknown;
  readonly onHand?: number | null | undefined;
}

export interface ProductChanges {
  readonly name?: string | null | undefined;
  readonly category?: string | null | undefined;
  readonly subCategory?: string | null | undefined;
  readonly attributes?: unknown;
  /** The version that the client has seen; a newer one is a CONFLICT. */
  readonly expectedVersion?: number | null | undefined;
}

/** The catalogue and the stock. */
export class Products {
  readonly #db: Kysely<ProductsTables>;

  constructor(db: Kysely<ProductsTables>) {
    this.#db = db;
  }

  async byIds(ids: readonly string[]): Promise<ProductRow[]> {
    return this.#db.selectFrom('products').selectAll().where(sql<SqlBool>`id = any(${ids})`).execute();
  }

  async bySkus(skus: readonly string[]): Promise<ProductRow[]> {
    return this.#db.selectFrom('products').selectAll().where(sql<SqlBool>`sku = any(${skus})`).execute();
  }

  async stockOf(productIds: readonly string[]): Promise<StockRow[]> {
    return this.#db.selectFrom('stock').selectAll().where(sql<SqlBool>`product_id = any(${productIds})`).execute();
  }

  /** Categories with their sub-categories, both by name. */
  async categories(): Promise<CategoryCountRow[]> {
    return this.#db
      .selectFrom('category_counts')
      .selectAll()
      .where('count', '>', 0)
      .orderBy('category')
      .orderBy('sub_category')
      .execute();
  }

  /** @throws ApiError BAD_USER_INPUT, or CONFLICT (SKU_TAKEN) */
  async create(input: NewProduct, origin: Origin): Promise<ProductRow> {
    const product = {
      id: randomUUID(),
      sku: requireLine('sku', input.sku, 100),
      name: requireLine('name', input.name, 300),
      category: requireLine('category', input.category, 100),
      sub_category: requireLine('subCategory', input.subCategory, 100),
      price: requireAmount('price', input.price),
      attributes: requireAttributes(input.attributes ?? {}),
    };
    const onHand = requireQuantity('onHand', input.onHand ?? 0, 0);
    try {
      return await this.#db.transaction().execute(async (transaction) => {
        const row = await transaction.insertInto('products').values(product).returningAll().executeTakeFirstOrThrow();
        const events = [productEvent('ProductCreated', row)];
        await transaction
          .insertInto('stock')
          .values({ product_id: row.id, on_hand: onHand, version: onHand > 0 ? 1 : 0 })
          .execute();
        if (onHand > 0) {
          const receipt = { product_id: row.id, quantity: onHand, reason: 'opening stock', idempotency_key: null };
          await transaction.insertInto('stock_receipts').values(receipt).execute();
          events.push(stockReceived(row.id, 1, { quantity: onHand, onHand, reason: 'opening stock' }));
        }
        await recordEvents(transaction, events, origin);
        return row;
      });
    } catch (error) {
      if (violatedUniqueConstraint(error) !== 'products_sku_key') throw error;
      throw conflict('SKU_TAKEN', `Another product has the SKU "${product.sku}".`, 'sku');
    }
  }

  /** @throws ApiError NOT_FOUND, BAD_USER_INPUT, or CONFLICT (STALE_VERSION) */
  async update(id: string, changes: ProductChanges, origin: Origin): Promise<ProductRow> {
    const values = {
      ...(changes.name != null && { name: requireLine('name', changes.name, 300) }),
      ...(changes.category != null && { category: requireLine('category', changes.category, 100) }),
      ...(changes.subCategory != null && { sub_category: requireLine('subCategory', changes.subCategory, 100) }),
      ...(changes.attributes != null && { attributes: requireAttributes(changes.attributes) }),
    };
    return this.#change(id, 'ProductUpdated', origin, (before) => {
      if (changes.expectedVersion != null && changes.expectedVersion !== before.version) {
        throw conflict(
          'STALE_VERSION',
          `Product "${id}" is at version ${before.version}, not ${changes.expectedVersion}: it was changed meanwhile.`,
          'expectedVersion',
        );
      }
      return values;
    });
  }

  /** @throws ApiError NOT_FOUND or BAD_USER_INPUT */
  async changePrice(id: string, requested: string, origin: Origin): Promise<ProductRow> {
    const price = requireAmount('price', requested);
    return this.#change(id, 'ProductPriceChanged', origin, () => ({ price }));
  }

  /** Takes a product out of the range; doing it twice is the same as once. @throws ApiError NOT_FOUND */
  async discontinue(id: string, origin: Origin): Promise<ProductRow> {
    return this.#change(id, 'ProductDiscontinued', origin, () => ({ status: 'DISCONTINUED' as const }));
  }

  /**
   * Takes units into stock, once per idempotency key of this product.
   *
   * @throws ApiError NOT_FOUND, BAD_USER_INPUT, or CONFLICT (PRODUCT_DISCONTINUED, IDEMPOTENCY_KEY_REUSED, STOCK_LIMIT)
   */
  async restock(id: string, requested: number, key: string, origin: Origin): Promise<ProductRow> {
    const quantity = requireQuantity('quantity', requested);
    const idempotencyKey = requireIdempotencyKey(key);
    return this.#db.transaction().execute(async (transaction) => {
      const product = await lockProduct(transaction, id);
      const receipt = { product_id: id, quantity, reason: 'restock', idempotency_key: idempotencyKey };
      const inserted = await transaction
        .insertInto('stock_receipts')
        .values(receipt)
        // No target: during an upgrade keys are also unique over all products, as the release before needs it.
        .onConflict((conflicting) => conflicting.doNothing())
        .returning('id')
        .executeTakeFirst();
      if (!inserted) {
        await refuseOtherUse(transaction, receipt);
        return product;
      }
      if (product.status === 'DISCONTINUED') {
        throw conflict('PRODUCT_DISCONTINUED', `Product "${id}" is discontinued and takes no more stock.`, 'id');
      }
      const stock = await transaction
        .updateTable('stock')
        .set({ on_hand: sql`on_hand + ${quantity}::bigint`, version: sql`version + 1` })
        .where('product_id', '=', id)
        .where('version', '<', MAX_COUNTER)
        .where(sql<SqlBool>`on_hand + ${quantity}::bigint <= ${MAX_COUNTER}::bigint`)
        .returning(['on_hand', 'version'])
        .executeTakeFirst();
      if (!stock) {
        throw conflict(
          'STOCK_LIMIT',
          `The stock holds at most ${MAX_COUNTER} units and as many movements.`,
          'quantity',
        );
      }
      const data = { quantity, onHand: stock.on_hand, reason: 'restock' };
      await recordEvents(transaction, [stockReceived(id, stock.version, data)], origin);
      return product;
    });
  }

  /** Locks a product, lets `decide` say what shall be different, and writes it where it really is. */
  async #change(
    id: string,
    eventType: ProductEventType,
    origin: Origin,
    decide: (before: ProductRow) => Partial<ProductValues>,
  ): Promise<ProductRow> {
    return this.#db.transaction().execute(async (transaction) => {
      const before = await lockProduct(transaction, id);
      if (before.version >= MAX_COUNTER)
        throw conflict('VERSION_LIMIT', `Product "${id}" was changed too often.`, 'id');
      const { attributes, ...values } = decide(before);
      const row = await transaction
        .updateTable('products')
        .set({ ...values, ...(attributes !== undefined && { attributes }) })
        .set({ updated_at: new Date(), version: before.version + 1 })
        .where('id', '=', id)
        .where(sql<SqlBool>`(name, category, sub_category, price, status, attributes) is distinct from (
          ${values.name ?? before.name}, ${values.category ?? before.category},
          ${values.sub_category ?? before.sub_category}, ${values.price ?? before.price}::numeric,
          ${values.status ?? before.status}, ${attributes ?? JSON.stringify(before.attributes)}::jsonb
        )`)
        .returningAll()
        .executeTakeFirst();
      if (!row) return before;
      await recordEvents(transaction, [productEvent(eventType, row)], origin);
      return row;
    });
  }
}

/** The columns of a product that commands change; attributes as JSON text. */
type ProductValues = Pick<ProductRow, 'name' | 'category' | 'sub_category' | 'price' | 'status'> & {
  attributes: string;
};

async function lockProduct(transaction: Kysely<ProductsTables>, id: string): Promise<ProductRow> {
  const row = await transaction
    .selectFrom('products')
    .selectAll()
    .where('id', '=', requireId('id', id))
    .forUpdate()
    .executeTakeFirst();
  if (!row) throw notFound('product', id);
  return row;
}

/** A key that was used before must stand for the same request. */
async function refuseOtherUse(
  db: Kysely<ProductsTables>,
  receipt: { product_id: string; quantity: number; reason: string; idempotency_key: string },
): Promise<void> {
  const before = await db
    .selectFrom('stock_receipts')
    .select('quantity')
    .where('product_id', '=', receipt.product_id)
    .where('reason', '=', receipt.reason)
    .where('idempotency_key', '=', receipt.idempotency_key)
    .executeTakeFirst();
  if (before?.quantity !== receipt.quantity) {
    const use = before ? `a restock of ${before.quantity}` : 'another product';
    throw conflict(
      'IDEMPOTENCY_KEY_REUSED',
      `This idempotency key was used for ${use}; a new request needs a new key.`,
      'idempotencyKey',
    );
  }
}

/** Attributes are an object; JSON text comes back. */
function requireAttributes(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badUserInput('attributes', '"attributes" must be a JSON object.', 'NOT_AN_OBJECT');
  }
  const fault = findJsonFault(value, MAX_JSON_DEPTH);
  if (fault) throw badUserInput('attributes', `"attributes" ${fault.problem}.`, fault.reason);
  const text = JSON.stringify(value);
  if (text.length > MAX_ATTRIBUTES_LENGTH) {
    throw badUserInput('attributes', `"attributes" may have at most ${MAX_ATTRIBUTES_LENGTH} characters.`, 'TOO_LONG');
  }
  return text;
}

import type { Origin } from '@tributary/bus';
import type { NewEvent, Refusal } from '@tributary/events';
import { MAX_COUNTER } from '@tributary/subgraph';
import { type Kysely, sql } from 'kysely';
import { stockMoved } from './product-events.js';
import type { ProductStatusName, ProductsTables, ReservedLine } from './storage/tables.js';

/** What each movement does to the stock of a product, per unit. */
const MOVEMENTS = {
  hold: { onHand: 0, reserved: 1, sold: 0 },
  unhold: { onHand: 0, reserved: -1, sold: 0 },
  sell: { onHand: -1, reserved: -1, sold: 1 },
  takeBack: { onHand: 1, reserved: 0, sold: -1 },
} as const;

/** A product's stock, with the movements so far. */
interface ProductStock {
  readonly productId: string;
  readonly name: string;
  readonly price: string;
  readonly status: ProductStatusName;
  onHand: number;
  reserved: number;
  sold: number;
  /** As orders count it, with what was sold before there was a stock. */
  readonly unitsSold: number;
  readonly version: number;
  /** The origin of the last movement; undefined when nothing was moved. */
  movedBy?: Origin;
}

/** The stock of products: locked, moved in memory, written at once. */
export class LockedStock {
  readonly #stock: ReadonlyMap<string, ProductStock>;

  private constructor(stock: readonly ProductStock[]) {
    this.#stock = new Map(stock.map((each) => [each.productId, each]));
  }

  /** Locks the stock of products, in the order of their ids. */
  static async lock(transaction: Kysely<ProductsTables>, productIds: readonly string[]): Promise<LockedStock> {
    const ids = [...new Set(productIds)];
    const { rows } = await sql<ProductStock>`
      select product_id as "productId", name, price, status, on_hand as "onHand", reserved, sold,
        units_sold as "unitsSold", stock.version
      from stock join products on products.id = stock.product_id
      where product_id = any(${ids}) order by product_id for no key update of stock
    `.execute(transaction);
    return new LockedStock(rows);
  }

  /** The price of a product; 0.00 when there is none. */
  price(productId: string): string {
    return this.#stock.get(productId)?.price ?? '0.00';
  }

  /** Why one of these lines cannot be sold at all; null when each can. */
  notForSale(
    lines: readonly ReservedLine[],
  ): Refusal<'UNKNOWN_PRODUCT' | 'PRODUCT_DISCONTINUED' | 'SALES_LIMIT'> | null {
    for (const { productId, quantity } of lines) {
      const stock = this.#stock.get(productId);
      if (!stock) return { code: 'UNKNOWN_PRODUCT', reason: `There is no product with id "${productId}".` };
      if (stock.status === 'DISCONTINUED') {
        return { code: 'PRODUCT_DISCONTINUED', reason: `"${stock.name}" is not sold any more.` };
      }
      // Refused before any money moves: numbers of the graph are 32-bit integers.
      const sold = Math.max(stock.sold, stock.unitsSold) + stock.reserved;
      if (sold + quantity > MAX_COUNTER || stock.version >= MAX_COUNTER) {
        return { code: 'SALES_LIMIT', reason: `"${stock.name}" cannot be sold any more: its sales cannot be counted.` };
      }
    }
    return null;
  }

  /** The first line of which not enough is in stock; null when all can be held. */
  shortage(lines: readonly ReservedLine[]): Refusal<'OUT_OF_STOCK'> | null {
    for (const { productId, quantity } of lines) {
      const stock = this.#stock.get(productId);
      const available = stock ? stock.onHand - stock.reserved : 0;
      if (available >= quantity) continue;
      const left = available === 0 ? 'is out of stock' : `has ${available} in stock, and ${quantity} were ordered`;
      return { code: 'OUT_OF_STOCK', reason: `"${stock?.name ?? productId}" ${left}.` };
    }
    return null;
  }

  move(movement: keyof typeof MOVEMENTS, lines: readonly ReservedLine[], origin: Origin): void {
    const { onHand, reserved, sold } = MOVEMENTS[movement];
    for (const { productId, quantity } of lines) {
      const stock = this.#stock.get(productId);
      if (!stock) throw new Error(`There is no stock of product ${productId}.`);
      stock.onHand += onHand * quantity;
      stock.reserved += reserved * quantity;
      stock.sold += sold * quantity;
      stock.movedBy = origin;
    }
  }

  /** Writes what was moved. @returns the events of it, which the caller records */
  async save(transaction: Kysely<ProductsTables>): Promise<(NewEvent & { readonly origin: Origin })[]> {
    const moved = [...this.#stock.values()].flatMap(({ movedBy, ...stock }) =>
      movedBy ? [{ ...stock, movedBy }] : [],
    );
    if (moved.length > 0) {
      // The table's own constraints have the last word: nothing below 0, nothing reserved that is not there.
      await sql`
        update stock set on_hand = moved."onHand", reserved = moved.reserved, sold = moved.sold, version = moved.version + 1
        from jsonb_to_recordset(${JSON.stringify(moved)}::jsonb)
          as moved ("productId" text, "onHand" bigint, reserved bigint, sold bigint, version integer)
        where stock.product_id = moved."productId"
      `.execute(transaction);
    }
    return moved.map(({ productId, version, onHand, reserved, sold, movedBy }) => ({
      ...stockMoved(productId, version + 1, { onHand, reserved, sold }),
      origin: movedBy,
    }));
  }
}

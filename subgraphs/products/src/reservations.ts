import { causedBy, type LoggedEvent, NO_ORIGIN, type Origin } from '@tributary/bus';
import { type NewEvent, recordEvents } from '@tributary/events';
import { bulkInsert } from '@tributary/postgres';
import { MAX_COUNTER } from '@tributary/subgraph';
import { type Kysely, type SqlBool, sql } from 'kysely';
import { z } from 'zod';
import { type ReservationEventType, reservationEvent, stockMoved } from './product-events.js';
import type { ProductStatusName, ProductsTables, ReservationRow, ReservedLine } from './storage/tables.js';

/** What this service wants of the command; the other fields may come and go. */
const reserveSchema = z.object({
  lines: z.array(z.object({ productId: z.string(), quantity: z.number().int().positive() })).min(1),
});
type WantedLines = z.infer<typeof reserveSchema>['lines'];

/** The ways to refuse; `reason` is for the customer. */
interface Refusal {
  readonly code:
    | 'UNKNOWN_PRODUCT'
    | 'PRODUCT_DISCONTINUED'
    | 'SALES_LIMIT'
    | 'OUT_OF_STOCK'
    | 'RESERVATION_EXPIRED'
    | 'RELEASED';
  readonly reason: string;
}

const EXPIRED: Refusal = { code: 'RESERVATION_EXPIRED', reason: 'The stock was held for too long and has been sold.' };
const RELEASED: Refusal = { code: 'RELEASED', reason: 'The stock was given back.' };

/** Whether an event of orders asks for something here. */
export const isStockCommand = ({ type }: LoggedEvent) => COMMANDS.has(type);

const COMMANDS = new Set(['ReserveStock', 'CommitStock', 'ReleaseStock', 'OrderCancelled']);

/**
 * Holds, sells, releases and takes back stock as the orders service's commands and events ask for it, and answers in events:
 * StockReserved, StockRefused, StockCommitted, StockReleased. Each takes effect once per order, however often it comes; the
 * answer comes again. Stock that was released for an order can never be held for it again.
 */
export async function applyStockCommands(
  transaction: Kysely<ProductsTables>,
  events: readonly LoggedEvent[],
  ttlMs: number,
): Promise<void> {
  const commands = events.filter(isStockCommand);
  if (commands.length === 0) return;
  const orderIds = commands.map(({ aggregateId }) => aggregateId);
  const known = await transaction
    .selectFrom('reservations')
    .selectAll()
    .where(sql<SqlBool>`order_id = any(${orderIds})`)
    .orderBy('order_id')
    .forUpdate()
    .execute();
  const wanted = new Map<LoggedEvent, WantedLines>();
  for (const command of commands) {
    if (command.type === 'ReserveStock') wanted.set(command, reserveSchema.parse(command.data).lines);
  }
  const productIds = [...wanted.values()].flat().map(({ productId }) => productId);
  const batch = await ReservationBatch.open(transaction, known, productIds, ttlMs);
  for (const command of commands) {
    switch (command.type) {
      case 'ReserveStock':
        batch.reserve(command, wanted.get(command) ?? []);
        break;
      case 'CommitStock':
        batch.commit(command);
        break;
      default:
        batch.release(command);
    }
  }
  await batch.save(transaction);
}

/** Releases what orders hold beyond its time. @returns how many reservations */
export async function expireReservations(db: Kysely<ProductsTables>, limit: number): Promise<number> {
  return db.transaction().execute(async (transaction) => {
    const overdue = await transaction
      .selectFrom('reservations')
      .selectAll()
      .where('status', '=', 'HELD')
      .where('expires_at', '<=', sql<Date>`now()`)
      .orderBy('order_id')
      .limit(limit)
      .forUpdate()
      .skipLocked()
      .execute();
    if (overdue.length === 0) return 0;
    const batch = await ReservationBatch.open(transaction, overdue, [], 0);
    for (const { order_id: orderId } of overdue) batch.expire(orderId);
    await batch.save(transaction);
    return overdue.length;
  });
}

/** A product's stock as the batch has it by now. */
interface OpenStock {
  readonly productId: string;
  readonly name: string;
  readonly price: string;
  readonly status: ProductStatusName;
  onHand: number;
  reserved: number;
  sold: number;
  /** As orders count it, with what was sold before there was a stock. */
  readonly unitsSold: number;
  version: number;
  /** What last moved it, for the event that tells of it; undefined while nothing did. */
  movedBy?: Origin;
}

/** A reservation as the batch has it by now. */
type OpenReservation = Omit<ReservationRow, 'created_at' | 'updated_at'>;

/** The reservations and the stock that a batch is about: locked, changed in memory, written back at once. */
class ReservationBatch {
  readonly #reservations: Map<string, OpenReservation>;
  readonly #stock: Map<string, OpenStock>;
  readonly #touched = new Set<OpenReservation>();
  readonly #events: NewEvent[] = [];
  readonly #expiresAt: Date;

  private constructor(reservations: readonly OpenReservation[], stock: readonly OpenStock[], expiresAt: Date) {
    this.#reservations = new Map(reservations.map((reservation) => [reservation.order_id, reservation]));
    this.#stock = new Map(stock.map((each) => [each.productId, each]));
    this.#expiresAt = expiresAt;
  }

  /** Locks the stock of these products and of those that the reservations hold. The reservations are locked already. */
  static async open(
    transaction: Kysely<ProductsTables>,
    reservations: readonly OpenReservation[],
    productIds: readonly string[],
    ttlMs: number,
  ): Promise<ReservationBatch> {
    const held = reservations.flatMap(({ lines }) => lines.map(({ productId }) => productId));
    const ids = [...new Set([...productIds, ...held])];
    const { rows } = await sql<OpenStock>`
      select product_id as "productId", name, price, status, on_hand as "onHand", reserved, sold,
        units_sold as "unitsSold", stock.version
      from stock join products on products.id = stock.product_id
      where product_id = any(${ids}) order by product_id for no key update of stock
    `.execute(transaction);
    return new ReservationBatch(reservations, rows, new Date(Date.now() + ttlMs));
  }

  reserve(command: LoggedEvent, wanted: WantedLines): void {
    const orderId = command.aggregateId;
    const reservation = this.#reservations.get(orderId) ?? this.#hold(command, wanted);
    const { status, lines, expires_at: expiresAt } = reservation;
    if (status === 'HELD' || status === 'COMMITTED') {
      this.#answer(reservation, 'StockReserved', causedBy(command), { lines, expiresAt });
    } else {
      const refusal = status === 'REFUSED' ? reservation.refusal : status === 'EXPIRED' ? EXPIRED : RELEASED;
      this.#refuse(reservation, command, refusal);
    }
  }

  commit(command: LoggedEvent): void {
    const reservation = this.#reservations.get(command.aggregateId) ?? this.#open(command.aggregateId, 'RELEASED', []);
    const origin = causedBy(command);
    if (reservation.status === 'EXPIRED' && this.#shortage(reservation.lines) === null) {
      this.#move(reservation.lines, origin, (stock, quantity) => {
        stock.reserved += quantity;
      });
      reservation.status = 'HELD';
    }
    if (reservation.status === 'HELD') {
      this.#move(reservation.lines, origin, (stock, quantity) => {
        stock.reserved -= quantity;
        stock.onHand -= quantity;
        stock.sold += quantity;
      });
      reservation.status = 'COMMITTED';
    }
    if (reservation.status === 'COMMITTED') this.#answer(reservation, 'StockCommitted', origin, {});
    else this.#refuse(reservation, command, reservation.status === 'EXPIRED' ? EXPIRED : RELEASED);
  }

  release(command: LoggedEvent): void {
    const reservation = this.#reservations.get(command.aggregateId) ?? this.#open(command.aggregateId, 'RELEASED', []);
    const origin = causedBy(command);
    if (reservation.status === 'HELD') this.#unhold(reservation, origin);
    if (reservation.status === 'COMMITTED') {
      this.#move(reservation.lines, origin, (stock, quantity) => {
        stock.onHand += quantity;
        stock.sold -= quantity;
      });
    }
    reservation.status = 'RELEASED';
    this.#answer(reservation, 'StockReleased', origin, { lines: reservation.lines });
  }

  expire(orderId: string): void {
    const reservation = this.#reservations.get(orderId);
    if (reservation?.status !== 'HELD') return;
    this.#unhold(reservation, NO_ORIGIN);
    reservation.status = 'EXPIRED';
    this.#answer(reservation, 'ReservationExpired', NO_ORIGIN, { lines: reservation.lines });
  }

  async save(transaction: Kysely<ProductsTables>): Promise<void> {
    const moved = [...this.#stock.values()].filter(({ movedBy }) => movedBy !== undefined);
    if (moved.length > 0) {
      // The table's own constraints have the last word: nothing below 0, nothing reserved that is not there.
      await sql`
        update stock set on_hand = moved."onHand", reserved = moved.reserved, sold = moved.sold, version = moved.version + 1
        from jsonb_to_recordset(${JSON.stringify(moved)}::jsonb)
          as moved ("productId" text, "onHand" bigint, reserved bigint, sold bigint, version integer)
        where stock.product_id = moved."productId"
      `.execute(transaction);
    }
    const columns = {
      order_id: 'text',
      status: 'text',
      lines: 'jsonb',
      refusal: 'jsonb',
      expires_at: 'timestamptz',
      version: 'integer',
    };
    await bulkInsert(transaction as unknown as Kysely<never>, 'reservations', columns, [...this.#touched], {
      onConflict: sql`on conflict (order_id) do update set
        status = excluded.status, refusal = excluded.refusal, version = excluded.version, updated_at = now()`,
    });
    const movements = moved.map(({ productId, version, onHand, reserved, sold, movedBy }) => ({
      ...stockMoved(productId, version + 1, { onHand, reserved, sold }),
      origin: movedBy ?? NO_ORIGIN,
    }));
    await recordEvents(transaction, [...this.#events, ...movements], NO_ORIGIN);
  }

  /** Holds all lines, or (with a refusal) none. */
  #hold(command: LoggedEvent, wanted: WantedLines): OpenReservation {
    const quantities = new Map<string, number>();
    for (const { productId, quantity } of wanted) {
      quantities.set(productId, (quantities.get(productId) ?? 0) + quantity);
    }
    const lines = [...quantities].map(([productId, quantity]) => {
      return { productId, quantity, unitPrice: this.#stock.get(productId)?.price ?? '0.00' };
    });
    const refusal = this.#notForSale(lines) ?? this.#shortage(lines);
    if (refusal) return this.#open(command.aggregateId, 'REFUSED', [], refusal);
    this.#move(lines, causedBy(command), (stock, quantity) => {
      stock.reserved += quantity;
    });
    return this.#open(command.aggregateId, 'HELD', lines);
  }

  #unhold({ lines }: OpenReservation, origin: Origin): void {
    this.#move(lines, origin, (stock, quantity) => {
      stock.reserved -= quantity;
    });
  }

  #notForSale(lines: readonly ReservedLine[]): Refusal | null {
    for (const { productId, quantity } of lines) {
      const stock = this.#stock.get(productId);
      if (!stock) return { code: 'UNKNOWN_PRODUCT', reason: `There is no product with id "${productId}".` };
      if (stock.status === 'DISCONTINUED') {
        return { code: 'PRODUCT_DISCONTINUED', reason: `"${stock.name}" is not sold any more.` };
      }
      // Refused here, before any money moves: figures of the graph are 32-bit integers.
      const sold = Math.max(stock.sold, stock.unitsSold) + stock.reserved;
      if (sold + quantity > MAX_COUNTER || stock.version >= MAX_COUNTER) {
        return { code: 'SALES_LIMIT', reason: `"${stock.name}" cannot be sold any more: its sales cannot be counted.` };
      }
    }
    return null;
  }

  #shortage(lines: readonly ReservedLine[]): Refusal | null {
    for (const { productId, quantity } of lines) {
      const stock = this.#stock.get(productId);
      const available = stock ? stock.onHand - stock.reserved : 0;
      if (available >= quantity) continue;
      const left = available === 0 ? 'is out of stock' : `has ${available} in stock, and ${quantity} were ordered`;
      return { code: 'OUT_OF_STOCK', reason: `"${stock?.name ?? productId}" ${left}.` };
    }
    return null;
  }

  #open(
    orderId: string,
    status: OpenReservation['status'],
    lines: readonly ReservedLine[],
    refusal: Refusal | null = null,
  ): OpenReservation {
    const reservation = { order_id: orderId, status, lines, refusal, expires_at: this.#expiresAt, version: 0 };
    this.#reservations.set(orderId, reservation);
    return reservation;
  }

  #move(lines: readonly ReservedLine[], origin: Origin, change: (stock: OpenStock, quantity: number) => void): void {
    for (const { productId, quantity } of lines) {
      const stock = this.#stock.get(productId);
      if (!stock) throw new Error(`There is no stock of product ${productId}.`);
      change(stock, quantity);
      stock.movedBy = origin;
    }
  }

  #refuse(reservation: OpenReservation, command: LoggedEvent, refusal: Refusal | OpenReservation['refusal']): void {
    this.#answer(reservation, 'StockRefused', causedBy(command), { command: command.type, ...refusal });
  }

  #answer(reservation: OpenReservation, type: ReservationEventType, origin: Origin, data: object): void {
    reservation.version += 1;
    this.#touched.add(reservation);
    const event = reservationEvent(type, reservation.order_id, reservation.version, { ...data });
    this.#events.push({ ...event, origin });
  }
}

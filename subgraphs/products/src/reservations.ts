import { causedBy, type LoggedEvent, NO_ORIGIN, type Origin } from '@tributary/bus';
import { type Refusal, SagaSteps, type SagaStepTable } from '@tributary/events';
import { type Kysely, sql } from 'kysely';
import { z } from 'zod';
import { LockedStock } from './locked-stock.js';
import { type ReservationEventType, reservationEvent } from './product-events.js';
import type { ProductsTables, ReservationRow, ReservedLine } from './storage/tables.js';

/** The fields of the command that this service reads; others may be added or removed. */
const reserveSchema = z.object({
  lines: z.array(z.object({ productId: z.string(), quantity: z.number().int().positive() })).min(1),
});
type OrderedLines = z.infer<typeof reserveSchema>['lines'];

type Reservation = Omit<ReservationRow, 'created_at' | 'updated_at'>;

const RESERVATIONS: SagaStepTable<Reservation> = {
  name: 'reservations',
  columns: {
    order_id: 'text',
    status: 'text',
    lines: 'jsonb',
    refusal: 'jsonb',
    expires_at: 'timestamptz',
    version: 'integer',
  },
  updated: ['status', 'refusal', 'version'],
};

const EXPIRED: Refusal<'RESERVATION_EXPIRED'> = {
  code: 'RESERVATION_EXPIRED',
  reason: 'The stock was held for too long and has been sold.',
};
const RELEASED: Refusal<'RELEASED'> = { code: 'RELEASED', reason: 'The stock was given back.' };

const COMMANDS = new Set(['ReserveStock', 'CommitStock', 'ReleaseStock', 'OrderCancelled']);

/** Whether an event of orders is a command to this service. */
export const isStockCommand = ({ type }: LoggedEvent) => COMMANDS.has(type);

/**
 * Applies the commands and events of the orders service that hold, sell, release and take back stock, and replies with events:
 * StockReserved, StockRefused, StockCommitted, StockReleased. Each takes effect once per order, however often it comes; the
 * reply comes again. Stock that was released for an order can never be held for it again.
 */
export async function applyStockCommands(
  transaction: Kysely<ProductsTables>,
  events: readonly LoggedEvent[],
  ttlMs: number,
): Promise<void> {
  const commands = events.filter(isStockCommand);
  if (commands.length === 0) return;
  const orderIds = commands.map(({ aggregateId }) => aggregateId);
  const steps = await SagaSteps.lock(transaction, RESERVATIONS, orderIds);
  const ordered = new Map<LoggedEvent, OrderedLines>();
  for (const command of commands) {
    if (command.type === 'ReserveStock') ordered.set(command, reserveSchema.parse(command.data).lines);
  }
  const productIds = [...ordered.values()].flat().map(({ productId }) => productId);
  const reservations = await Reservations.open(transaction, steps, productIds, ttlMs);
  for (const command of commands) {
    switch (command.type) {
      case 'ReserveStock':
        reservations.reserve(command, ordered.get(command) ?? []);
        break;
      case 'CommitStock':
        reservations.commit(command);
        break;
      default:
        reservations.release(command);
    }
  }
  await reservations.save(transaction);
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
    const reservations = await Reservations.open(transaction, new SagaSteps(RESERVATIONS, overdue), [], 0);
    for (const { order_id: orderId } of overdue) reservations.expire(orderId);
    await reservations.save(transaction);
    return overdue.length;
  });
}

/** The reservations of a batch, with the stock that they move. */
class Reservations {
  readonly #steps: SagaSteps<Reservation>;
  readonly #stock: LockedStock;
  readonly #expiresAt: Date;

  private constructor(steps: SagaSteps<Reservation>, stock: LockedStock, expiresAt: Date) {
    this.#steps = steps;
    this.#stock = stock;
    this.#expiresAt = expiresAt;
  }

  /** Locks the stock of these products and of those that the reservations, which are locked already, hold. */
  static async open(
    transaction: Kysely<ProductsTables>,
    steps: SagaSteps<Reservation>,
    productIds: readonly string[],
    ttlMs: number,
  ): Promise<Reservations> {
    const held = steps.all.flatMap(({ lines }) => lines.map(({ productId }) => productId));
    const stock = await LockedStock.lock(transaction, [...productIds, ...held]);
    return new Reservations(steps, stock, new Date(Date.now() + ttlMs));
  }

  reserve(command: LoggedEvent, ordered: OrderedLines): void {
    const reservation = this.#steps.find(command.aggregateId) ?? this.#hold(command, ordered);
    const { status, lines, expires_at: expiresAt } = reservation;
    if (status === 'HELD' || status === 'COMMITTED') {
      this.#reply(reservation, 'StockReserved', causedBy(command), { lines, expiresAt });
    } else {
      const refusal = status === 'REFUSED' ? reservation.refusal : status === 'EXPIRED' ? EXPIRED : RELEASED;
      this.#refuse(reservation, command, refusal);
    }
  }

  commit(command: LoggedEvent): void {
    const reservation = this.#steps.find(command.aggregateId) ?? this.#add(command.aggregateId, 'RELEASED');
    const origin = causedBy(command);
    if (reservation.status === 'EXPIRED' && this.#stock.shortage(reservation.lines) === null) {
      this.#stock.move('hold', reservation.lines, origin);
      reservation.status = 'HELD';
    }
    if (reservation.status === 'HELD') {
      this.#stock.move('sell', reservation.lines, origin);
      reservation.status = 'COMMITTED';
    }
    if (reservation.status === 'COMMITTED') this.#reply(reservation, 'StockCommitted', origin, {});
    else this.#refuse(reservation, command, reservation.status === 'EXPIRED' ? EXPIRED : RELEASED);
  }

  release(command: LoggedEvent): void {
    const reservation = this.#steps.find(command.aggregateId) ?? this.#add(command.aggregateId, 'RELEASED');
    const origin = causedBy(command);
    if (reservation.status === 'HELD') this.#stock.move('unhold', reservation.lines, origin);
    if (reservation.status === 'COMMITTED') this.#stock.move('takeBack', reservation.lines, origin);
    reservation.status = 'RELEASED';
    this.#reply(reservation, 'StockReleased', origin, { lines: reservation.lines });
  }

  expire(orderId: string): void {
    const reservation = this.#steps.find(orderId);
    if (reservation?.status !== 'HELD') return;
    this.#stock.move('unhold', reservation.lines, NO_ORIGIN);
    reservation.status = 'EXPIRED';
    this.#reply(reservation, 'ReservationExpired', NO_ORIGIN, { lines: reservation.lines });
  }

  async save(transaction: Kysely<ProductsTables>): Promise<void> {
    for (const movement of await this.#stock.save(transaction)) this.#steps.record(movement);
    await this.#steps.save(transaction);
  }

  /** Holds all lines, or (with a refusal) none. */
  #hold(command: LoggedEvent, ordered: OrderedLines): Reservation {
    const quantities = new Map<string, number>();
    for (const { productId, quantity } of ordered) {
      quantities.set(productId, (quantities.get(productId) ?? 0) + quantity);
    }
    const lines = [...quantities].map(([productId, quantity]) => {
      return { productId, quantity, unitPrice: this.#stock.price(productId) };
    });
    const refusal = this.#stock.notForSale(lines) ?? this.#stock.shortage(lines);
    if (refusal) return this.#add(command.aggregateId, 'REFUSED', [], refusal);
    this.#stock.move('hold', lines, causedBy(command));
    return this.#add(command.aggregateId, 'HELD', lines);
  }

  #add(
    orderId: string,
    status: Reservation['status'],
    lines: readonly ReservedLine[] = [],
    refusal: Refusal | null = null,
  ): Reservation {
    return this.#steps.add({ order_id: orderId, status, lines, refusal, expires_at: this.#expiresAt, version: 0 });
  }

  #refuse(reservation: Reservation, command: LoggedEvent, refusal: Refusal | null): void {
    this.#reply(reservation, 'StockRefused', causedBy(command), { command: command.type, ...refusal });
  }

  #reply(reservation: Reservation, type: ReservationEventType, origin: Origin, data: object): void {
    this.#steps.reply(reservation, origin, (version) =>
      reservationEvent(type, reservation.order_id, version, { ...data }),
    );
  }
}

import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { conflict, notFound } from '@tributary/shared/errors';
import type { Origin } from '@tributary/shared/events/event';
import { requireIdempotencyKey, requireText } from '@tributary/shared/input';
import DataLoader from 'dataloader';
import { type Kysely, type SqlBool, sql } from 'kysely';
import { AppendConflictError } from '../order/event-store.js';
import { type OrderedItem, requireItems } from '../order/order-commands.js';
import type { OrdersTables } from '../storage/tables.js';
import type { OrderWaiters } from './order-waiters.js';
import { PlacementBatch, type PlacementSettings } from './placement-batch.js';
import { isFinished, startSaga } from './saga.js';
import { SagaStore } from './saga-store.js';

/** Requests wait no longer than this, whatever they ask for: those who ask them have timeouts of their own. */
const LONGEST_WAIT_MS = 4000;
/** How long a cancellation waits until stock and money are back. */
const CANCEL_WAIT_MS = 2000;
const ATTEMPTS = 5;
/** The most orders that share a transaction. */
const MAX_TOGETHER = 100;

export interface OrderRequest {
  readonly customerId: string;
  readonly items: readonly OrderedItem[];
  /** How long to wait for the order to be settled. */
  readonly waitMs: number;
}

/** An order that is to be placed, checked. */
interface NewOrder {
  readonly id: string;
  readonly customerId: string;
  readonly items: readonly OrderedItem[];
  readonly idempotencyKey: string;
  /** What was asked for, as text. */
  readonly request: string;
  readonly origin: Origin;
}

/** Which order it is: the new one, or one that was placed before under the same key. */
interface Placed {
  readonly id: string;
  readonly isNew: boolean;
}

/**
 * Places and cancels orders. Orders that are placed at the same time share a transaction: while one is under way, the next ones
 * gather, and go together in the following one.
 */
export class Placement {
  readonly #db: Kysely<OrdersTables>;
  readonly #settings: PlacementSettings;
  readonly #waiters: OrderWaiters;
  #running: Promise<unknown> = Promise.resolve();
  readonly #newOrders = new DataLoader<NewOrder, Placed>((orders) => this.#placeTogether(orders), {
    cache: false,
    maxBatchSize: MAX_TOGETHER,
    batchScheduleFn: (place) => void this.#running.then(place),
  });

  constructor(db: Kysely<OrdersTables>, settings: PlacementSettings, waiters: OrderWaiters) {
    this.#db = db;
    this.#settings = settings;
    this.#waiters = waiters;
  }

  /**
   * Places an order, once per idempotency key, and waits for what becomes of it.
   *
   * @returns the order's id
   * @throws ApiError BAD_USER_INPUT, or CONFLICT (IDEMPOTENCY_KEY_REUSED)
   */
  async place({ customerId, items, waitMs }: OrderRequest, key: string, origin: Origin): Promise<string> {
    const request = { customerId: requireText('customerId', customerId), items: requireItems(items) };
    const idempotencyKey = requireIdempotencyKey(key);
    const newOrder = { id: randomUUID(), ...request, idempotencyKey, request: JSON.stringify(request), origin };
    return this.#settled(newOrder.id, waitMs, async () => {
      const { id, isNew } = await this.#newOrders.load(newOrder);
      return { id, look: !isNew };
    });
  }

  /**
   * Takes an order back, whether it is confirmed or still being placed, and waits a little until stock and money are back.
   * Doing it twice is the same as once.
   *
   * @throws ApiError NOT_FOUND, BAD_USER_INPUT, or CONFLICT (ORDER_REJECTED)
   */
  async cancel(orderId: string, reason: string, origin: Origin): Promise<void> {
    await this.#settled(orderId, CANCEL_WAIT_MS, async () => {
      await this.#again(() =>
        this.#db.transaction().execute(async (transaction) => {
          const sagas = await new SagaStore(transaction).lock([orderId]);
          const batch = await new PlacementBatch(transaction, this.#settings).load([orderId], sagas);
          if (!batch.order(orderId)) throw notFound('order', orderId);
          batch.decide(orderId, { type: 'CancelOrder', reason: requireText('reason', reason, 500) }, origin);
          batch.tell(orderId, { type: 'Cancelled' }, origin);
          await batch.save();
        }),
      );
      return { id: orderId, look: true };
    });
  }

  /** Two at a time on an order without a saga to lock: one of them decides again. */
  async #again<T>(run: () => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await run();
      } catch (error) {
        if (!(error instanceof AppendConflictError) || attempt === ATTEMPTS) throw error;
      }
    }
  }

  /**
   * Does something with an order, and waits until nothing is left to do for it, or the time is up.
   *
   * @param run tells which order it turned out to be, and whether that may be settled already
   */
  async #settled(
    expectedId: string,
    waitMs: number,
    run: () => Promise<{ readonly id: string; readonly look: boolean }>,
  ): Promise<string> {
    const deadline = performance.now() + Math.min(waitMs, LONGEST_WAIT_MS);
    // It may be settled before the commit returns, so the waiting begins before.
    let waiter = this.#waiters.wait(expectedId);
    try {
      const { id, look } = await run();
      let settled = false;
      for (let mayBe = look; !settled && performance.now() < deadline; mayBe = !settled) {
        if (id !== expectedId || mayBe) {
          waiter.stop();
          waiter = this.#waiters.wait(id);
        }
        if (mayBe && (await this.#isSettled(id))) break;
        const timeout = new AbortController();
        const time = sleep(Math.max(0, deadline - performance.now()), false, { signal: timeout.signal });
        settled = await Promise.race([waiter.settled, time.catch(() => false)]);
        timeout.abort();
      }
      return id;
    } finally {
      waiter.stop();
    }
  }

  async #isSettled(orderId: string): Promise<boolean> {
    const [saga] = await new SagaStore(this.#db).ofOrders([orderId]);
    return !saga || isFinished(saga);
  }

  #placeTogether(orders: readonly NewOrder[]): Promise<(Placed | Error)[]> {
    const placing = this.#placeAll(orders).catch(async (error) => {
      // One of them may be at fault; then it is not the others' fault.
      if (orders.length === 1) return [error as Error];
      return Promise.all(orders.map((order) => this.#placeAll([order]).then(([placed]) => placed as Placed, asError)));
    });
    this.#running = placing;
    return placing;
  }

  #placeAll(orders: readonly NewOrder[]): Promise<(Placed | Error)[]> {
    return this.#db.transaction().execute(async (transaction) => {
      const sagas = new SagaStore(transaction);
      const starts = orders.map((order) => ({
        ...order,
        ...startSaga(order.id, new Date(), this.#settings.policy, Math.random()),
      }));
      const numbers = await sagas.insert(starts);
      const quotes = await readQuotes(transaction, starts);
      const batch = new PlacementBatch(transaction, this.#settings);
      for (const start of starts) {
        const number = numbers.get(start.id);
        if (number === undefined) continue;
        const { customerId, items, origin } = start;
        batch.place({ type: 'PlaceOrder', number, customerId, items, quotes }, start, origin);
      }
      await batch.save();
      const repeated = starts.filter(({ id }) => !numbers.has(id));
      const before =
        repeated.length > 0 ? await sagas.ofKeys(repeated.map(({ idempotencyKey }) => idempotencyKey)) : null;
      return orders.map((order) => {
        const known = before?.get(order.idempotencyKey);
        if (numbers.has(order.id) || !known) return { id: order.id, isNew: true };
        return known.request === order.request ? { id: known.orderId, isNew: false } : keyReused();
      });
    });
  }
}

/** Prices as the copy has them: what orders say until the products service has reserved their stock. */
async function readQuotes(
  db: Kysely<OrdersTables>,
  orders: readonly Pick<NewOrder, 'items'>[],
): Promise<Map<string, string>> {
  const productIds = [...new Set(orders.flatMap(({ items }) => items.map(({ productId }) => productId)))];
  const rows = await db
    .selectFrom('products_copy')
    .select(['id', 'price'])
    .where(sql<SqlBool>`id = any(${productIds})`)
    .execute();
  return new Map(rows.map(({ id, price }) => [id, price]));
}

const keyReused = () =>
  conflict(
    'IDEMPOTENCY_KEY_REUSED',
    'This idempotency key was used for another order; a new order wants a new key.',
    'idempotencyKey',
  );

function asError(error: unknown): Error {
  return error as Error;
}

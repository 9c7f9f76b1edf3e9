import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { conflict, notFound } from '@tributary/shared/errors';
import type { Origin } from '@tributary/shared/events/event';
import { requireIdempotencyKey, requireText } from '@tributary/shared/input';
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

export interface OrderRequest {
  readonly customerId: string;
  readonly items: readonly OrderedItem[];
  /** How long to wait for the order to be settled. */
  readonly waitMs: number;
}

/** Places and cancels orders. */
export class Placement {
  readonly #db: Kysely<OrdersTables>;
  readonly #settings: PlacementSettings;
  readonly #waiters: OrderWaiters;

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
    const quotes = await this.#quotes(request.items.map(({ productId }) => productId));
    const orderId = randomUUID();
    return this.#settled(orderId, waitMs, () =>
      this.#db.transaction().execute(async (transaction) => {
        const start = startSaga(orderId, new Date(), this.#settings.policy, Math.random());
        const sagas = new SagaStore(transaction);
        const text = JSON.stringify(request);
        const number = await sagas.insert(start, { idempotencyKey, request: text }, origin);
        if (number === null) return { id: await orderOfKey(sagas, idempotencyKey, text), look: true };
        const batch = new PlacementBatch(transaction, this.#settings);
        batch.place({ type: 'PlaceOrder', number, ...request, quotes }, start, origin);
        await batch.save();
        return { id: orderId, look: false };
      }),
    );
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

  /** Prices as the copy has them: what the order says until the products service has reserved the stock. */
  async #quotes(productIds: readonly string[]): Promise<Map<string, string>> {
    const rows = await this.#db
      .selectFrom('products_copy')
      .select(['id', 'price'])
      .where(sql<SqlBool>`id = any(${productIds})`)
      .execute();
    return new Map(rows.map(({ id, price }) => [id, price]));
  }
}

async function orderOfKey(sagas: SagaStore, idempotencyKey: string, request: string): Promise<string> {
  const before = await sagas.ofKey(idempotencyKey);
  if (before.request === request) return before.order_id;
  throw conflict(
    'IDEMPOTENCY_KEY_REUSED',
    'This idempotency key was used for another order; a new order wants a new key.',
    'idempotencyKey',
  );
}

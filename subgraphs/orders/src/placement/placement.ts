import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Origin } from '@tributary/bus';
import { ApiError, badUserInput, conflict, isTransient, notFound } from '@tributary/server';
import { requireIdempotencyKey, requireReference, requireText } from '@tributary/subgraph';
import DataLoader from 'dataloader';
import type { Kysely } from 'kysely';
import type { OwnerLookup } from '../copies/owner-lookup.js';
import { AppendConflictError } from '../order/event-store.js';
import { type OrderedItem, requireItems } from '../order/order-commands.js';
import type { OrdersTables } from '../storage/tables.js';
import type { OrderWaiters } from './order-waiters.js';
import { PlacementBatch, type PlacementSettings } from './placement-batch.js';
import { type MissingReferences, missingReferences, readReferences } from './references.js';
import { isFinished, startSaga } from './saga.js';
import { keyOf, SagaStore } from './saga-store.js';

/** A request waits no longer than this, all its fields together, whatever `waitMs` says: the gateway has a time-out of its own. */
export const LONGEST_WAIT_MS = 4000;
/** How much longer it waits for the owners of customers and products that the copies do not have. */
const LOOK_UP_GRACE_MS = 500;
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
  /** When the request it is a field of must be answered, as `performance.now()` has it. */
  readonly deadline: number;
}

/** An order that is to be placed, checked. */
interface NewOrder {
  readonly id: string;
  readonly customerId: string;
  readonly items: readonly OrderedItem[];
  readonly idempotencyKey: string;
  /** The requested order, as text. */
  readonly request: string;
  readonly origin: Origin;
  /** When owners are not waited for any more. */
  readonly deadline: number;
}

/** Which order it is: the new one, or one that was placed before under the same key. */
interface Placed {
  readonly id: string;
  readonly isNew: boolean;
}

/** The order was not placed: the copies do not have what it refers to. */
interface NotPlaced {
  readonly missing: MissingReferences;
}

/**
 * Places and cancels orders. Orders that are placed at the same time share a transaction: while one runs, the next ones
 * gather, and share the following one.
 */
export class Placement {
  readonly #db: Kysely<OrdersTables>;
  readonly #settings: PlacementSettings;
  readonly #waiters: OrderWaiters;
  readonly #owners: OwnerLookup;
  #running: Promise<unknown> = Promise.resolve();
  readonly #newOrders = new DataLoader<NewOrder, Placed | NotPlaced>((orders) => this.#placeTogether(orders), {
    cache: false,
    maxBatchSize: MAX_TOGETHER,
    batchScheduleFn: (place) => void this.#running.then(place),
  });

  constructor(db: Kysely<OrdersTables>, settings: PlacementSettings, waiters: OrderWaiters, owners: OwnerLookup) {
    this.#db = db;
    this.#settings = settings;
    this.#waiters = waiters;
    this.#owners = owners;
  }

  /**
   * Places an order, once per customer and idempotency key, and waits for what becomes of it.
   *
   * @returns the order's id
   * @throws ApiError BAD_USER_INPUT, CONFLICT (IDEMPOTENCY_KEY_REUSED), NOT_FOUND when there is no such customer or product,
   *   or SUBGRAPH_UNAVAILABLE when the copies do not have it and its owner does not answer. Then nothing was stored.
   */
  async place(given: OrderRequest, key: string, origin: Origin): Promise<string> {
    const { customerId, items, waitMs } = given;
    if (waitMs < 0) throw badUserInput('waitMs', `"waitMs" must be at least 0, got ${waitMs}.`, 'OUT_OF_RANGE');
    const request = { customerId: requireReference('customerId', customerId), items: requireItems(items) };
    const idempotencyKey = requireIdempotencyKey(key);
    const deadline = given.deadline + LOOK_UP_GRACE_MS;
    const newOrder = {
      id: randomUUID(),
      ...request,
      idempotencyKey,
      request: JSON.stringify(request),
      origin,
      deadline,
    };
    const mayWaitMs = Math.max(0, given.deadline - performance.now());
    return this.#settled(newOrder.id, Math.min(waitMs, mayWaitMs), async () => {
      const { id, isNew } = await this.#placeWithReferences(newOrder);
      return { id, look: !isNew };
    });
  }

  /** Places an order; what the copies do not have yet, they get from its owner first. */
  async #placeWithReferences(order: NewOrder): Promise<Placed> {
    for (let attempt = 1; ; attempt++) {
      const placed = await this.#newOrders.load(order);
      if (!('missing' in placed)) return placed;
      // A copy that is being rebuilt may lose what was added to it; then the owner is queried again.
      if (attempt === ATTEMPTS || performance.now() >= order.deadline) {
        throw new ApiError('SUBGRAPH_UNAVAILABLE', 'The order cannot be placed at the moment; try again.');
      }
      const [unknownUsers, unknownProducts] = await Promise.all([
        this.#owners.fetch('users', placed.missing.users, order.deadline),
        this.#owners.fetch('products', placed.missing.products, order.deadline),
      ]);
      refuseUnknown(order, unknownUsers, unknownProducts);
    }
  }

  /**
   * Cancels an order, whether it is confirmed or still being placed, and waits a little until stock and money are back.
   * Cancelling it twice has the effect of once.
   *
   * @param mayWaitMs how long it waits at most
   * @throws ApiError NOT_FOUND, BAD_USER_INPUT, or CONFLICT (ORDER_REJECTED)
   */
  async cancel(orderId: string, reason: string, origin: Origin, mayWaitMs: number): Promise<void> {
    await this.#settled(orderId, Math.min(CANCEL_WAIT_MS, mayWaitMs), async () => {
      const cancelled = await this.#again(() =>
        this.#db.transaction().execute(async (transaction) => {
          const sagas = await new SagaStore(transaction).lock([orderId]);
          const batch = await new PlacementBatch(transaction, this.#settings).load([orderId], sagas);
          if (!batch.order(orderId)) throw notFound('order', orderId);
          batch.decide(orderId, { type: 'CancelOrder', reason: requireText('reason', reason, 500) }, origin);
          batch.dispatch(orderId, { type: 'Cancelled' }, origin);
          await batch.save();
          return batch;
        }),
      );
      cancelled.count();
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
   * @param run returns the id of the order, and whether the order may be settled already
   */
  async #settled(
    expectedId: string,
    waitMs: number,
    run: () => Promise<{ readonly id: string; readonly look: boolean }>,
  ): Promise<string> {
    const deadline = performance.now() + waitMs;
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

  #placeTogether(orders: readonly NewOrder[]): Promise<(Placed | NotPlaced | Error)[]> {
    // Once more when the database did not answer or a deadlock was broken up: what was placed all the same is found again.
    const placing = this.#placeApart(orders)
      .catch(() => this.#placeApart(orders))
      .catch(asErrors(orders));
    this.#running = placing;
    return placing;
  }

  /** Places orders in one transaction. When that fails because of some of them, the others are placed without them. */
  async #placeApart(orders: readonly NewOrder[]): Promise<(Placed | NotPlaced | Error)[]> {
    try {
      return await this.#placeAll(orders);
    } catch (error) {
      if (isTransient(error)) throw error;
      if (orders.length === 1) return [error as Error];
      const middle = Math.ceil(orders.length / 2);
      return [...(await this.#placeApart(orders.slice(0, middle))), ...(await this.#placeApart(orders.slice(middle)))];
    }
  }

  async #placeAll(orders: readonly NewOrder[]): Promise<(Placed | NotPlaced | Error)[]> {
    const { batch, outcomes } = await this.#db.transaction().execute(async (transaction) => {
      const sagas = new SagaStore(transaction);
      const references = await readReferences(transaction, orders);
      const missing = new Map(orders.map(({ id, ...order }) => [id, missingReferences(order, references)]));
      const starts = orders
        .filter(({ id }) => missing.get(id) === null)
        .map((order) => ({ ...order, ...startSaga(order.id, new Date(), this.#settings.policy, Math.random()) }));
      const numbers = await sagas.insert(starts);
      const batch = new PlacementBatch(transaction, this.#settings);
      for (const start of starts) {
        const number = numbers.get(start.id);
        if (number === undefined) continue;
        const { customerId, items, origin } = start;
        batch.place({ type: 'PlaceOrder', number, customerId, items, quotes: references.quotes }, start, origin);
      }
      await batch.save();
      const placedBefore = await sagas.ofKeys(orders.filter(({ id }) => !numbers.has(id)));
      const outcomes = orders.map((order) => {
        if (numbers.has(order.id)) return { id: order.id, isNew: true };
        const existing = placedBefore.get(keyOf(order));
        if (existing) return existing.request === order.request ? { id: existing.orderId, isNew: false } : keyReused();
        const references = missing.get(order.id);
        // Another customer's key, while processes of the release before may be running (end_compatibility).
        return references ? { missing: references } : keyReused();
      });
      return { batch, outcomes };
    });
    batch.count();
    return outcomes;
  }
}

function refuseUnknown(
  { customerId, items }: NewOrder,
  users: ReadonlySet<string>,
  products: ReadonlySet<string>,
): void {
  if (users.has(customerId)) throw unknown('user', customerId, 'customerId');
  items.forEach(({ productId }, i) => {
    if (products.has(productId)) throw unknown('product', productId, `items[${i}].productId`);
  });
}

const unknown = (what: string, id: string, field: string) =>
  new ApiError('NOT_FOUND', `There is no ${what} with id "${id}".`, { field });

const asErrors = (orders: readonly unknown[]) => (error: Error) => orders.map(() => error);

const keyReused = () =>
  conflict(
    'IDEMPOTENCY_KEY_REUSED',
    'This idempotency key was used for another order; a new order needs a new key.',
    'idempotencyKey',
  );

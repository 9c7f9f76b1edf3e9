import type { Origin } from '@tributary/bus';
import { type NewEvent, recordEvents } from '@tributary/events';
import { type Kysely, sql } from 'kysely';
import { OrderEventStore } from '../order/event-store.js';
import { evolve, type Order } from '../order/order.js';
import { decide, type OrderCommand } from '../order/order-commands.js';
import type { OrderEvent } from '../order/order-events.js';
import { project } from '../projections/order-projection.js';
import { orderEventsOf } from '../publication.js';
import type { OrdersTables } from '../storage/tables.js';
import { ORDERS_CHANNEL } from './order-waiters.js';
import type { PlacementMetrics } from './placement-metrics.js';
import { type Advance, advance, isFinished, type SagaCommand, type SagaInput, type SagaPolicy } from './saga.js';
import { SagaStore, type StoredSaga } from './saga-store.js';

/** The most ids that fit into one notification. */
const IDS_PER_NOTIFICATION = 150;

/** What each caller that advances sagas passes on. */
export interface PlacementSettings {
  readonly policy: SagaPolicy;
  /** Counts what becomes of sagas. */
  readonly metrics?: PlacementMetrics;
}

/** An order of the batch: as it was loaded, and what has been decided since. */
interface OpenOrder {
  readonly before: Order | null;
  now: Order | null;
  readonly events: OrderEvent[];
  saga: StoredSaga | null;
  /** As it was loaded; null for a new one. */
  readonly sagaBefore: StoredSaga | null;
  dueInMs: number | null;
  readonly commands: NewEvent[];
  origin: Origin;
}

/**
 * Orders and their sagas in one transaction: loaded once, advanced in memory, written once, with the
 * events for other services. However many there are, the number of statements stays the same.
 */
export class PlacementBatch {
  readonly #transaction: Kysely<OrdersTables>;
  readonly #settings: PlacementSettings;
  readonly #orders = new Map<string, OpenOrder>();
  readonly #now = new Date();

  constructor(transaction: Kysely<OrdersTables>, settings: PlacementSettings) {
    this.#transaction = transaction;
    this.#settings = settings;
  }

  /** Loads orders, with their sagas, which are locked already; an order of the import has none. */
  async load(orderIds: readonly string[], sagas: readonly StoredSaga[]): Promise<this> {
    const orders = await new OrderEventStore(this.#transaction).load(orderIds);
    const sagaOf = new Map(sagas.map((saga) => [saga.id, saga]));
    for (const id of orderIds) {
      const before = orders.get(id) ?? null;
      const saga = sagaOf.get(id) ?? null;
      this.#orders.set(id, open(before, saga));
    }
    return this;
  }

  order(id: string): Order | null {
    return this.#orders.get(id)?.now ?? null;
  }

  /** Whether anything has become of an order since it was loaded. */
  changed(id: string): boolean {
    const order = this.#orders.get(id);
    return order !== undefined && (order.events.length > 0 || order.saga !== order.sagaBefore);
  }

  /** Places a new order, whose saga was inserted by `SagaStore.insert`. */
  place(command: OrderCommand, { saga, send }: Advance, origin: Origin): void {
    const order = open(null, null);
    this.#orders.set(saga.id, order);
    order.saga = { ...saga, origin };
    this.decide(saga.id, command, origin);
    this.#send(order, send, 0, origin);
  }

  /** @throws ApiError CONFLICT or BAD_USER_INPUT */
  decide(orderId: string, command: OrderCommand, origin: Origin): void {
    const order = this.#order(orderId);
    for (const event of decide(order.now, command)) {
      const version = (order.now?.version ?? 0) + 1;
      order.now = evolve(order.now, { ...event, orderId, version, at: this.#now });
      order.events.push(event);
    }
    order.origin = origin;
  }

  /** Dispatches an input to an order's saga. `prices` are those at which its stock was reserved. */
  dispatch(orderId: string, input: SagaInput, origin: Origin, prices?: ReadonlyMap<string, string>): void {
    const order = this.#orders.get(orderId);
    if (!order?.saga) return;
    const next = advance(order.saga, input, this.#now, this.#settings.policy, Math.random());
    if (!next) return;
    if (next.order === 'reprice' && prices) this.decide(orderId, { type: 'RepriceOrder', prices }, origin);
    if (next.order === 'confirm') this.decide(orderId, { type: 'ConfirmOrder' }, origin);
    if (next.order === 'reject') {
      this.decide(orderId, { type: 'RejectOrder', reason: next.saga.failure ?? 'The order failed.' }, origin);
    }
    const sent = order.saga.commands;
    order.saga = { ...next.saga, origin: order.saga.origin };
    order.dueInMs = next.dueInMs;
    this.#send(order, next.send, sent, origin);
  }

  async save(): Promise<void> {
    const orders = [...this.#orders.entries()];
    const decided = orders.filter(([, { events }]) => events.length > 0);
    const appended = await new OrderEventStore(this.#transaction).append(
      decided.map(([orderId, { before, events }]) => ({ orderId, before, events })),
      this.#now,
    );
    const moved = orders.flatMap(([, { saga, sagaBefore, dueInMs }]) =>
      saga && sagaBefore && saga !== sagaBefore ? [{ saga, dueInMs }] : [],
    );
    await new SagaStore(this.#transaction).save(moved);
    const published = new Map(
      appended.map((each, i) => [each.after.id, orderEventsOf(each, decided[i]?.[1].origin as Origin)]),
    );
    const events = orders.flatMap(([id, { commands }]) => [...(published.get(id) ?? []), ...commands]);
    const [first] = orders;
    if (events.length > 0 && first) await recordEvents(this.#transaction, events, first[1].origin);
    await this.#notify();
    if (appended.length > 0) await project(this.#transaction, appended);
  }

  /** Counts what was saved. Call it after the commit: what is rolled back did not happen. */
  count(): void {
    for (const { saga, sagaBefore } of this.#orders.values()) {
      if (saga && saga !== sagaBefore) this.#settings.metrics?.observe(sagaBefore, saga, this.#now);
    }
  }

  /** Notifies every process of this service of the orders that have changed or are settled; the latter are marked. */
  async #notify(): Promise<void> {
    const ids = [...this.#orders.entries()]
      .filter(([id, { events, saga }]) => events.length > 0 || (this.changed(id) && saga && isFinished(saga)))
      .map(([id, { saga }]) => (saga === null || isFinished(saga) ? `${id}!` : id));
    for (let start = 0; start < ids.length; start += IDS_PER_NOTIFICATION) {
      const payload = ids.slice(start, start + IDS_PER_NOTIFICATION).join();
      await sql`select pg_notify(${ORDERS_CHANNEL}, ${payload})`.execute(this.#transaction);
    }
  }

  #order(id: string): OpenOrder {
    const order = this.#orders.get(id);
    if (!order) throw new Error(`Order ${id} was not loaded.`);
    return order;
  }

  #send(order: OpenOrder, commands: readonly SagaCommand[], sent: number, origin: Origin): void {
    commands.forEach((command, i) => {
      order.commands.push({ ...commandEvent(command, order.now as Order, sent + 1 + i), origin });
    });
  }
}

function open(before: Order | null, saga: StoredSaga | null): OpenOrder {
  const origin: Origin = saga?.origin ?? { correlationId: null, traceparent: null };
  return { before, now: before, events: [], saga, sagaBefore: saga, dueInMs: null, commands: [], origin };
}

/** A command to another service, as an event of the placement; its version is the number of the command. */
function commandEvent(type: SagaCommand, order: Order, commandNumber: number): NewEvent {
  const data = {
    ReserveStock: { lines: order.lines.map(({ productId, quantity }) => ({ productId, quantity })) },
    ChargeAccount: { userId: order.customerId, amount: order.total, currency: order.currency },
    CommitStock: {},
    RefundPayment: {},
    ReleaseStock: {},
  }[type];
  return {
    type,
    schemaVersion: 1,
    aggregateType: 'Placement',
    aggregateId: order.id,
    aggregateVersion: commandNumber,
    data,
  };
}

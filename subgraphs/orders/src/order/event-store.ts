import { bulkInsert, violatedUniqueConstraint } from '@tributary/postgres';
import { type Kysely, type SqlBool, sql } from 'kysely';
import type { OrdersTables } from '../storage/tables.js';
import { evolve, type Order } from './order.js';
import { type OrderEvent, type RecordedOrderEvent, SCHEMA_VERSIONS, upcast } from './order-events.js';

/** The columns of `order_events` as they are written, with their types. */
export const EVENT_COLUMNS = {
  order_id: 'text',
  version: 'integer',
  type: 'text',
  schema_version: 'integer',
  data: 'jsonb',
  at: 'timestamptz',
};

const COLUMNS = ['position', 'order_id', 'version', 'type', 'schema_version', 'data', 'at'] as const;

/**
 * A snapshot is stored whenever a stream passes a multiple of this: with one, loading such a stream takes half the time, and never
 * more than that (docs/performance.md). No order gets there in a life of its own, which is four events.
 */
export const SNAPSHOT_EVERY = 50;
/** Grows when an order's state changes its shape: snapshots of another shape are not read. */
const SNAPSHOT_SHAPE = 1;

/** A recorded event with its place in the store. */
export type StoredOrderEvent = RecordedOrderEvent & { readonly position: number };

/** What a decision adds to an order. */
export interface OrderAppend {
  readonly orderId: string;
  /** The order that the decision was taken on: its version is what the stream must still be at. Null for a new order. */
  readonly before: Order | null;
  readonly events: readonly OrderEvent[];
}

/** An order before and after. */
export interface AppendedOrder {
  readonly before: Order | null;
  readonly after: Order;
  readonly recorded: readonly RecordedOrderEvent[];
}

/** Another transaction appended to the order meanwhile. Nothing was written: load the order again and repeat the decision. */
export class AppendConflictError extends Error {
  override readonly name = 'AppendConflictError';
}

/** The events of orders: what happened to them, and so what they are. */
export class OrderEventStore {
  readonly #db: Kysely<OrdersTables>;

  constructor(db: Kysely<OrdersTables>) {
    this.#db = db;
  }

  /** Every event of these orders, each order's oldest first; `until` leaves out what happened after it. */
  async ofOrders(orderIds: readonly string[], until: Date | null = null): Promise<StoredOrderEvent[]> {
    let query = this.#db
      .selectFrom('order_events')
      .select(COLUMNS)
      .where(sql<SqlBool>`order_id = any(${orderIds})`)
      .orderBy('order_id')
      .orderBy('version');
    if (until) query = query.where('at', '<=', until);
    return (await query.execute()).map(readEvent);
  }

  /** The orders as their events make them, from the newest snapshot on; by id. */
  async load(orderIds: readonly string[]): Promise<Map<string, Order>> {
    if (orderIds.length === 0) return new Map();
    // The snapshot of an order, where there is one, and the events after it.
    const { rows } = await sql<EventRow & { snapshot: StoredOrder | null }>`
      with snapshots as (
        select order_id, version, state from order_snapshots
        where order_id = any(${orderIds}) and shape = ${SNAPSHOT_SHAPE}
      )
      select null as position, order_id, version, null as type, null as schema_version, null as data, null as at,
        state as snapshot
      from snapshots
      union all
      select ${sql.join(COLUMNS.map((column) => sql.ref(`events.${column}`)))}, null
      from order_events as events left join snapshots on snapshots.order_id = events.order_id
      where events.order_id = any(${orderIds}) and events.version > coalesce(snapshots.version, 0)
      order by order_id, version
    `.execute(this.#db);
    const orders = new Map<string, Order>();
    for (const { snapshot, ...row } of rows) {
      const id = row.order_id;
      orders.set(id, snapshot ? restore(snapshot) : evolve(orders.get(id) ?? null, readEvent(row)));
    }
    return orders;
  }

  /** The next events of the whole store, in the order in which they were recorded. */
  async after(position: number, limit: number): Promise<StoredOrderEvent[]> {
    const rows = await this.#db
      .selectFrom('order_events')
      .select(COLUMNS)
      .where('position', '>', position)
      .orderBy('position')
      .limit(limit)
      .execute();
    return rows.map(readEvent);
  }

  /**
   * Adds events to streams, all of them or none. Call it in a transaction.
   *
   * @param at when it happened; an order's clock never goes back
   * @throws AppendConflictError when a stream is not at the version any more that the decision was taken on
   */
  async append(appends: readonly OrderAppend[], at: Date): Promise<AppendedOrder[]> {
    const appended = appends.map(({ orderId, before, events }) => record(orderId, before, events, at));
    const rows = appended.flatMap(({ recorded }) =>
      recorded.map((event) => ({
        order_id: event.orderId,
        version: event.version,
        type: event.type,
        schema_version: SCHEMA_VERSIONS[event.type],
        data: event.data,
        at: event.at,
      })),
    );
    try {
      await bulkInsert(this.#db as unknown as Kysely<never>, 'order_events', EVENT_COLUMNS, rows);
    } catch (error) {
      if (violatedUniqueConstraint(error) !== 'order_events_by_order') throw error;
      throw new AppendConflictError('An order has changed since it was read.', { cause: error });
    }
    await this.#keepSnapshots(appended);
    return appended;
  }

  async #keepSnapshots(appended: readonly AppendedOrder[]): Promise<void> {
    const milestone = (order: Order | null) => Math.floor((order?.version ?? 0) / SNAPSHOT_EVERY);
    const rows = appended
      .filter(({ before, after }) => milestone(after) > milestone(before))
      .map(({ after }) => ({ order_id: after.id, version: after.version, shape: SNAPSHOT_SHAPE, state: after }));
    const columns = { order_id: 'text', version: 'integer', shape: 'integer', state: 'jsonb' };
    await bulkInsert(this.#db as unknown as Kysely<never>, 'order_snapshots', columns, rows, {
      onConflict: sql`on conflict (order_id) do update set
        version = excluded.version, shape = excluded.shape, state = excluded.state`,
    });
  }
}

function record(orderId: string, before: Order | null, events: readonly OrderEvent[], now: Date): AppendedOrder {
  const at = before && before.updatedAt > now ? before.updatedAt : now;
  const recorded: RecordedOrderEvent[] = events.map((event, i) => {
    return { ...event, orderId, version: (before?.version ?? 0) + 1 + i, at };
  });
  const after = recorded.reduce<Order | null>(evolve, before);
  if (!after) throw new Error(`Order ${orderId} is not there, and no event was given to place it.`);
  return { before, after, recorded };
}

interface EventRow {
  position: number;
  order_id: string;
  version: number;
  type: OrderEvent['type'];
  schema_version: number;
  data: OrderEvent['data'];
  at: Date;
}

function readEvent(row: EventRow): StoredOrderEvent {
  const { position, order_id: orderId, version, at } = row;
  return { ...upcast(row.type, row.schema_version, row.data), position, orderId, version, at };
}

type StoredOrder = Omit<Order, 'placedAt' | 'updatedAt'> & { readonly placedAt: string; readonly updatedAt: string };

function restore(state: StoredOrder): Order {
  return { ...state, placedAt: new Date(state.placedAt), updatedAt: new Date(state.updatedAt) };
}

import { type Kysely, type SqlBool, sql } from 'kysely';
import type { OrdersTables } from '../storage/tables.js';
import type { RecordedOrderEvent } from './order-events.js';

const COLUMNS = ['position', 'order_id', 'version', 'type', 'data', 'at'] as const;

/** A recorded event with its place in the store. */
export type StoredOrderEvent = RecordedOrderEvent & { readonly position: number };

/** Reads the events of orders. */
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
}

function readEvent(row: {
  position: number;
  order_id: string;
  version: number;
  type: RecordedOrderEvent['type'];
  data: RecordedOrderEvent['data'];
  at: Date;
}): StoredOrderEvent {
  const { position, order_id: orderId, version, type, data, at } = row;
  return { position, orderId, version, type, data, at } as StoredOrderEvent;
}

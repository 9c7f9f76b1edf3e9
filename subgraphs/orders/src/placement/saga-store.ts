import type { Origin } from '@tributary/bus';
import { type Kysely, type SqlBool, sql } from 'kysely';
import type { OrdersTables, PlacementSagaRow } from '../storage/tables.js';
import type { Advance, Saga } from './saga.js';

/** A stored saga, with the client request that it began with. */
export interface StoredSaga extends Saga {
  readonly origin: Origin;
}

/** The request that a saga began with. */
export interface PlacementRequest {
  /** Keys are the customer's own: the same key of another customer is another key. */
  readonly customerId: string;
  readonly idempotencyKey: string;
  /** The requested order, as text that is the same for the same request. */
  readonly request: string;
}

type PlacementKey = Pick<PlacementRequest, 'customerId' | 'idempotencyKey'>;

/** One text per customer and idempotency key. */
export const keyOf = ({ customerId, idempotencyKey }: PlacementKey) => JSON.stringify([customerId, idempotencyKey]);

/** Stores sagas in the orders database. */
export class SagaStore {
  readonly #db: Kysely<OrdersTables>;

  constructor(db: Kysely<OrdersTables>) {
    this.#db = db;
  }

  async ofOrders(orderIds: readonly string[]): Promise<StoredSaga[]> {
    const rows = await this.#db
      .selectFrom('placement_sagas')
      .selectAll()
      .where(sql<SqlBool>`order_id = any(${orderIds})`)
      .execute();
    return rows.map(readSaga);
  }

  /** The same, locked until the transaction ends: who would change an order that a saga placed locks the saga first. */
  async lock(orderIds: readonly string[]): Promise<StoredSaga[]> {
    const rows = await this.#db
      .selectFrom('placement_sagas')
      .selectAll()
      .where(sql<SqlBool>`order_id = any(${orderIds})`)
      .orderBy('order_id')
      .forUpdate()
      .execute();
    return rows.map(readSaga);
  }

  /** Locks sagas that waited long enough for an answer; leaves out those that another process has locked. */
  async lockDue(limit: number): Promise<StoredSaga[]> {
    const rows = await this.#db
      .selectFrom('placement_sagas')
      .selectAll()
      .where('due_at', '<=', sql<Date>`now()`)
      .orderBy('due_at')
      .limit(limit)
      .forUpdate()
      .skipLocked()
      .execute();
    return rows.map(readSaga);
  }

  /**
   * Inserts new sagas, except those whose customer and idempotency key already have one.
   *
   * @returns the number of each order whose saga was inserted, by its id
   */
  async insert(
    starts: readonly (Advance & PlacementRequest & { readonly origin: Origin })[],
  ): Promise<Map<string, string>> {
    if (starts.length === 0) return new Map();
    const rows = starts.map(({ saga, dueInMs, customerId, idempotencyKey, request, origin }) => ({
      id: saga.id,
      customerId,
      idempotencyKey,
      request,
      status: saga.status,
      steps: saga.steps,
      commands: saga.commands,
      correlationId: origin.correlationId,
      traceparent: origin.traceparent,
      dueInMs,
      startedAt: saga.startedAt,
    }));
    const { rows: inserted } = await sql<{ order_id: string; number: string; year: string }>`
      insert into placement_sagas (
        order_id, customer_id, idempotency_key, request, status, steps, commands, correlation_id, traceparent, due_at,
        started_at
      )
      select id, "customerId", "idempotencyKey", request, status, steps, commands, "correlationId", traceparent,
        now() + "dueInMs" * interval '1 ms', "startedAt"
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as new (
        id text, "customerId" text, "idempotencyKey" text, request text, status text, steps jsonb, commands integer, "correlationId" text,
        traceparent text, "dueInMs" float8, "startedAt" timestamptz
      )
      -- In one order, so that no two of these statements wait for each other's keys.
      order by "customerId", "idempotencyKey"
      -- No target: during an upgrade keys are also unique over all customers, as the release before needs it.
      on conflict do nothing
      returning order_id, nextval('order_numbers')::text as number,
        to_char(started_at at time zone 'UTC', 'YYYY') as year
    `.execute(this.#db);
    // At least six digits. Not lpad: it cuts longer numbers.
    return new Map(inserted.map(({ order_id: id, number, year }) => [id, `TR-${year}-${number.padStart(6, '0')}`]));
  }

  /** The orders that were placed under these keys, with their requests; by `keyOf`. */
  async ofKeys(
    keys: readonly PlacementKey[],
  ): Promise<Map<string, { readonly orderId: string; readonly request: string }>> {
    if (keys.length === 0) return new Map();
    const { rows } = await sql<PlacementKey & { orderId: string; request: string }>`
      select customer_id as "customerId", idempotency_key as "idempotencyKey", order_id as "orderId", request
      from unnest(${keys.map(({ customerId }) => customerId)}::text[], ${keys.map((key) => key.idempotencyKey)}::text[])
        as requested (customer_id, idempotency_key)
      join placement_sagas using (customer_id, idempotency_key)
    `.execute(this.#db);
    return new Map(rows.map((row) => [keyOf(row), row]));
  }

  /** Makes an overdue saga due again later, unless another process advanced it meanwhile. */
  async postpone(orderId: string, byMs: number): Promise<void> {
    await sql`
      update placement_sagas set due_at = now() + ${byMs}::float8 * interval '1 ms'
      where order_id = ${orderId} and due_at <= now()
    `.execute(this.#db);
  }

  async save(advances: readonly Pick<Advance, 'saga' | 'dueInMs'>[]): Promise<void> {
    if (advances.length === 0) return;
    const rows = advances.map(({ saga, dueInMs }) => ({
      id: saga.id,
      status: saga.status,
      steps: saga.steps,
      failure: saga.failure,
      cancelled: saga.cancelled,
      commands: saga.commands,
      dueInMs,
      finishedAt: saga.finishedAt,
    }));
    await sql`
      update placement_sagas as stored set
        status = changed.status, steps = changed.steps, failure = changed.failure, cancelled = changed.cancelled,
        commands = changed.commands, due_at = now() + changed."dueInMs" * interval '1 ms',
        finished_at = changed."finishedAt"
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as changed (
        id text, status text, steps jsonb, failure text, cancelled boolean, commands integer, "dueInMs" float8,
        "finishedAt" timestamptz
      )
      where stored.order_id = changed.id
    `.execute(this.#db);
  }
}

/** A row as the database has it, or as JSON: then its dates are texts. */
export type SagaRow = Omit<PlacementSagaRow, 'started_at' | 'finished_at' | 'due_at'> & {
  readonly started_at: Date | string;
  readonly finished_at: Date | string | null;
};

export function readSaga(row: SagaRow): StoredSaga {
  return {
    id: row.order_id,
    status: row.status,
    steps: row.steps,
    failure: row.failure,
    cancelled: row.cancelled,
    commands: row.commands,
    startedAt: new Date(row.started_at),
    finishedAt: row.finished_at === null ? null : new Date(row.finished_at),
    origin: { correlationId: row.correlation_id, traceparent: row.traceparent },
  };
}

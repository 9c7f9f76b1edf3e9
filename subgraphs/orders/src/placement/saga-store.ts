import type { Origin } from '@tributary/shared/events/event';
import { type Kysely, type SqlBool, sql } from 'kysely';
import type { OrdersTables, PlacementSagaRow } from '../storage/tables.js';
import type { Advance, Saga } from './saga.js';

/** A saga as it is kept, with the client request that it began with. */
export interface StoredSaga extends Saga {
  readonly origin: Origin;
}

/** The request that a saga began with. */
export interface PlacementRequest {
  readonly idempotencyKey: string;
  /** What was asked for, as text that is the same for the same request. */
  readonly request: string;
}

/** Sagas, kept in the orders database. */
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

  /** Locks sagas that waited long enough for an answer; those that somebody else is busy with are left out. */
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
   * Keeps new sagas, except those under whose idempotency key there is one.
   *
   * @returns the number of each order whose saga was kept, by its id
   */
  async insert(
    starts: readonly (Advance & PlacementRequest & { readonly origin: Origin })[],
  ): Promise<Map<string, string>> {
    const rows = starts.map(({ saga, dueInMs, idempotencyKey, request, origin }) => ({
      id: saga.id,
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
    const { rows: kept } = await sql<{ order_id: string; number: string }>`
      insert into placement_sagas (
        order_id, idempotency_key, request, status, steps, commands, correlation_id, traceparent, due_at, started_at
      )
      select id, "idempotencyKey", request, status, steps, commands, "correlationId", traceparent,
        now() + "dueInMs" * interval '1 ms', "startedAt"
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as new (
        id text, "idempotencyKey" text, request text, status text, steps jsonb, commands integer, "correlationId" text,
        traceparent text, "dueInMs" float8, "startedAt" timestamptz
      )
      -- In one order, so that no two of these statements wait for each other's keys.
      order by "idempotencyKey"
      on conflict (idempotency_key) do nothing
      returning order_id,
        'TR-' || to_char(started_at at time zone 'UTC', 'YYYY') || '-' || lpad(nextval('order_numbers')::text, 6, '0') as number
    `.execute(this.#db);
    return new Map(kept.map(({ order_id: id, number }) => [id, number]));
  }

  /** The orders that keys stand for, and what was asked for under them; by key. */
  async ofKeys(keys: readonly string[]): Promise<Map<string, { readonly orderId: string; readonly request: string }>> {
    const rows = await this.#db
      .selectFrom('placement_sagas')
      .select(['idempotency_key', 'order_id', 'request'])
      .where(sql<SqlBool>`idempotency_key = any(${keys})`)
      .execute();
    return new Map(rows.map((row) => [row.idempotency_key, { orderId: row.order_id, request: row.request }]));
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
      update placement_sagas as kept set
        status = changed.status, steps = changed.steps, failure = changed.failure, cancelled = changed.cancelled,
        commands = changed.commands, due_at = now() + changed."dueInMs" * interval '1 ms',
        finished_at = changed."finishedAt"
      from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) as changed (
        id text, status text, steps jsonb, failure text, cancelled boolean, commands integer, "dueInMs" float8,
        "finishedAt" timestamptz
      )
      where kept.order_id = changed.id
    `.execute(this.#db);
  }
}

function readSaga(row: PlacementSagaRow): StoredSaga {
  return {
    id: row.order_id,
    status: row.status,
    steps: row.steps,
    failure: row.failure,
    cancelled: row.cancelled,
    commands: row.commands,
    startedAt: row.started_at,
    finishedAt: row.finished_at,
    origin: { correlationId: row.correlation_id, traceparent: row.traceparent },
  };
}

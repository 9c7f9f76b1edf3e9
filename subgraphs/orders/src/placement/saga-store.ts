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
   * Keeps a new saga, unless there is one under its idempotency key.
   *
   * @returns the order's number; null when the key was used before
   */
  async insert(
    { saga, dueInMs }: Advance,
    { idempotencyKey, request }: PlacementRequest,
    { correlationId, traceparent }: Origin,
  ): Promise<string | null> {
    const { rows } = await sql<{ number: string }>`
      insert into placement_sagas (
        order_id, idempotency_key, request, status, steps, commands, correlation_id, traceparent, due_at, started_at
      ) values (
        ${saga.id}, ${idempotencyKey}, ${request}, ${saga.status}, ${JSON.stringify(saga.steps)}::jsonb, ${saga.commands},
        ${correlationId}, ${traceparent}, now() + ${dueInMs}::float8 * interval '1 ms', ${saga.startedAt}
      )
      on conflict (idempotency_key) do nothing
      returning 'TR-' || to_char(started_at at time zone 'UTC', 'YYYY') || '-' || lpad(nextval('order_numbers')::text, 6, '0')
        as number
    `.execute(this.#db);
    return rows[0]?.number ?? null;
  }

  /** The order that a key stands for, and what was asked for under it. */
  async ofKey(idempotencyKey: string): Promise<Pick<PlacementSagaRow, 'order_id' | 'request'>> {
    return this.#db
      .selectFrom('placement_sagas')
      .select(['order_id', 'request'])
      .where('idempotency_key', '=', idempotencyKey)
      .executeTakeFirstOrThrow();
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

import { randomUUID } from 'node:crypto';
import type { LoggedEvent, Origin } from '@tributary/bus';
import { bulkInsert } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { createRelayLease } from './lease.js';

/** The channel on which the database notifies of commits to the outbox. */
export const OUTBOX_CHANNEL = 'outbox';
/** How many events a reader of the log gives positions at most. */
const MAX_ASSIGNED = 1000;

/** An event to be, as a command states it. */
export interface NewEvent {
  readonly type: string;
  readonly schemaVersion: number;
  readonly aggregateType: string;
  readonly aggregateId: string;
  readonly aggregateVersion: number;
  readonly data: Readonly<Record<string, unknown>>;
  /** Now, unless it is history that is imported. */
  readonly occurredAt?: Date;
  /** Where this one came from, when it is not where the others of its transaction came from. */
  readonly origin?: Origin;
}

/**
 * A migration step: the outbox, which is also the service's event log.
 *
 * `sequence` is taken inside a transaction, so a lower one may be committed later: it is not an order for readers.
 * `position` is assigned afterwards to committed events, by the relay or by a reader of the log.
 */
export async function createOutbox(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table outbox (
      sequence bigint generated always as identity primary key,
      position bigint,
      id uuid not null unique,
      type text not null,
      schema_version integer not null,
      aggregate_type text not null,
      aggregate_id text not null,
      aggregate_version integer not null,
      occurred_at timestamptz(3) not null,
      recorded_at timestamptz(3) not null default now(),
      correlation_id text,
      causation_id text,
      traceparent text,
      data jsonb not null,
      unique (aggregate_type, aggregate_id, aggregate_version)
    );
    create unique index outbox_position on outbox (position);
    create index outbox_unnumbered on outbox (sequence) where position is null;

    create table ledger (
      singleton boolean primary key default true check (singleton),
      -- The last position given; the last position published.
      head bigint not null default 0,
      published bigint not null default 0,
      -- The last position that retention has deleted.
      deleted_to bigint not null default 0
    );
    insert into ledger default values;

    create table ledger_consumers (
      name text primary key,
      position bigint not null,
      seen_at timestamptz not null default now()
    );

    create function tell_outbox() returns trigger language plpgsql as $$
    begin
      perform pg_notify('outbox', '');
      return null;
    end $$;
    create trigger outbox_told after insert on outbox for each statement execute function tell_outbox();
  `.execute(db);
}

/**
 * A migration step: how committed events get their positions.
 *
 * The index of what has no position yet becomes the only one by sequence, and nothing else is to be used: the whole event log must
 * not be read for it, however wrong the planner is about how much that is (after an import, it was all). Each statement of the function
 * sees what was committed before it, so the next holder of the lock on the event log continues where the last one stopped. A database that
 * has it already adds `createRelayLease`.
 */
export async function createNumbering(db: Kysely<unknown>): Promise<void> {
  await sql`
    alter table outbox drop constraint outbox_pkey;
    alter table outbox drop constraint outbox_id_key;
    alter table outbox add primary key (id);

    create function number_outbox(most integer, out numbered bigint, out head bigint) language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off as $$
    declare
      before bigint;
    begin
      select ledger.head into before from ledger for update;
      with fresh as (
        select sequence, row_number() over (order by sequence) as place
        from (select sequence from outbox where position is null order by sequence limit most) as unnumbered
      ), placed as (
        update outbox set position = before + fresh.place
        from fresh where outbox.sequence = fresh.sequence and outbox.position is null
        returning outbox.sequence
      )
      select count(*) into numbered from placed;
      head := before + numbered;
      if numbered > 0 then
        update ledger set head = number_outbox.head;
      end if;
    end $$;
  `.execute(db);
  await createRelayLease(db);
}

/** Assigns positions to committed events. @returns how many events got one, and the last position assigned */
export async function assignPositions<Tables>(
  db: Kysely<Tables>,
  limit: number,
): Promise<{ readonly assigned: number; readonly endPosition: number }> {
  const { rows } = await sql<{ numbered: number; head: number }>`select * from number_outbox(${limit})`.execute(db);
  const { numbered: assigned, head: endPosition } = rows[0] ?? { numbered: 0, head: 0 };
  return { assigned, endPosition };
}

/** Records events in the transaction of the change that they describe. */
export async function recordEvents<Tables>(
  transaction: Kysely<Tables>,
  events: readonly NewEvent[],
  origin: Origin,
): Promise<void> {
  const now = new Date();
  const rows = events.map((event) => ({
    id: randomUUID(),
    type: event.type,
    schema_version: event.schemaVersion,
    aggregate_type: event.aggregateType,
    aggregate_id: event.aggregateId,
    aggregate_version: event.aggregateVersion,
    occurred_at: event.occurredAt ?? now,
    correlation_id: (event.origin ?? origin).correlationId,
    causation_id: (event.origin ?? origin).causationId ?? null,
    traceparent: (event.origin ?? origin).traceparent,
    data: event.data,
  }));
  const columns = {
    id: 'uuid',
    type: 'text',
    schema_version: 'integer',
    aggregate_type: 'text',
    aggregate_id: 'text',
    aggregate_version: 'integer',
    occurred_at: 'timestamptz',
    correlation_id: 'text',
    causation_id: 'text',
    traceparent: 'text',
    data: 'jsonb',
  };
  await bulkInsert(transaction as unknown as Kysely<never>, 'outbox', columns, rows);
}

/**
 * Removes fields from an aggregate's past events for good, and sets `erased` in their `data`.
 * Call it in the transaction that erases them elsewhere.
 */
export async function eraseFromEvents<Tables>(
  transaction: Kysely<Tables>,
  aggregateType: string,
  aggregateId: string,
  fields: readonly string[],
): Promise<void> {
  await sql`
    update outbox set data = (data - ${fields}::text[]) || '{"erased": true}'
    where aggregate_type = ${aggregateType} and aggregate_id = ${aggregateId} and data ?| ${fields}::text[]
  `.execute(transaction);
}

interface OutboxRow {
  position: number;
  id: string;
  type: string;
  schema_version: number;
  aggregate_type: string;
  aggregate_id: string;
  aggregate_version: number;
  occurred_at: Date;
  correlation_id: string | null;
  causation_id: string | null;
  traceparent: string | null;
  data: Record<string, unknown>;
}

/** A page of an event log, and the log's end position. */
export interface EventLogPage {
  readonly head: number;
  /** Whether something is committed that has no position yet: then more events follow after `head`. */
  readonly more: boolean;
  readonly events: readonly LoggedEvent[];
}

/** Retention has deleted the requested events: a copy that needs them must be rebuilt from its owner. */
export class EventsDeletedError extends Error {
  override readonly name = 'EventsDeletedError';
}

/**
 * The events after a position, in order. What is committed and has no position yet gets one first, so that readers need no relay.
 *
 * @throws EventsDeletedError when retention has deleted some of them
 */
export async function readEventLog<Tables>(
  db: Kysely<Tables>,
  source: string,
  after: number,
  limit: number,
): Promise<EventLogPage> {
  let { head, deletedTo, more } = await readState(db);
  if (more) {
    await assignPositions(db, MAX_ASSIGNED);
    ({ head, deletedTo, more } = await readState(db));
  }
  if (after < deletedTo) {
    throw new EventsDeletedError(
      `The event log of ${source} begins after position ${deletedTo}, and what follows ${after} is needed: "npm run tributary -- verify --repair" lets the consumer go on.`,
    );
  }
  return { head, more, events: await readEvents(db, source, after, head, limit) };
}

async function readState<Tables>(
  db: Kysely<Tables>,
): Promise<{ readonly head: number; readonly deletedTo: number; readonly more: boolean }> {
  const { rows } = await sql<{ head: number; deleted_to: number; more: boolean }>`
    select head, deleted_to,
      (select sequence from outbox where position is null order by sequence limit 1) is not null as more
    from ledger
  `.execute(db);
  const { head = 0, deleted_to: deletedTo = 0, more = false } = rows[0] ?? {};
  return { head, deletedTo, more };
}

/** The events after one position up to another, in order. */
export async function readEvents<Tables>(
  db: Kysely<Tables>,
  source: string,
  after: number,
  upTo: number,
  limit: number,
): Promise<LoggedEvent[]> {
  if (upTo <= after) return [];
  const { rows } = await sql<OutboxRow>`
    select position, id, type, schema_version, aggregate_type, aggregate_id, aggregate_version,
      occurred_at, correlation_id, causation_id, traceparent, data
    from outbox where position > ${after} and position <= ${upTo} order by position limit ${limit}
  `.execute(db);
  return rows.map((row) => readEvent(source, row));
}

function readEvent(source: string, row: OutboxRow): LoggedEvent {
  return {
    position: row.position,
    id: row.id,
    source,
    type: row.type,
    schemaVersion: row.schema_version,
    aggregateType: row.aggregate_type,
    aggregateId: row.aggregate_id,
    aggregateVersion: row.aggregate_version,
    occurredAt: row.occurred_at.toISOString(),
    correlationId: row.correlation_id,
    causationId: row.causation_id,
    traceparent: row.traceparent,
    data: row.data,
  };
}

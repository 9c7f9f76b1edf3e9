import type { LoggedEvent } from '@tributary/bus';
import { inSavepoint } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';

/** An event that could not be applied, or that waits behind one of its aggregate that could not. */
export interface DeadLetter {
  readonly consumer: string;
  readonly source: string;
  readonly position: number;
  readonly aggregate_type: string;
  readonly aggregate_id: string;
  readonly event: LoggedEvent;
  readonly error: string;
  readonly attempts: number;
  readonly parked_at: Date;
}

/** An aggregate of the source. */
export interface AggregateKey {
  readonly aggregateType: string;
  readonly aggregateId: string;
}

export const BEHIND = 'waits behind an earlier event of its aggregate';
export const ERASED = 'could not be applied; what it said was erased with its aggregate';

/** The port through which one consumer stores the dead letters of one source. Every method but `aggregates` is part of a transaction. */
export interface DeadLetterStore<Tables> {
  /** Those of the events' aggregates that have dead letters, by `keyOf`. */
  blocked(transaction: Kysely<Tables>, events: readonly LoggedEvent[]): Promise<Set<string>>;
  /** Stores dead letters. One that is stored already, because the position was set back, keeps its error and its attempts. */
  add(transaction: Kysely<Tables>, events: readonly LoggedEvent[], error: string): Promise<void>;
  /** Deletes the dead letters of aggregates that were erased, of all consumers of the service. */
  deleteErased(transaction: Kysely<Tables>, erased: readonly LoggedEvent[]): Promise<void>;
  /** Removes personal data from the dead letters of an aggregate before the event that erases it. */
  eraseEarlier(transaction: Kysely<Tables>, erasing: LoggedEvent): Promise<void>;
  /** The aggregates that have dead letters, or only those that were erased, in the order of their first dead letters. */
  aggregates(which: 'all' | 'erased'): Promise<AggregateKey[]>;
  /** The dead letters of an aggregate, in order. */
  ofAggregate(transaction: Kysely<Tables>, aggregate: AggregateKey): Promise<DeadLetter[]>;
  /** Counts another failed attempt. */
  noteFailure(transaction: Kysely<Tables>, letter: DeadLetter, error: string): Promise<void>;
  /** Deletes a dead letter that was applied, and the earlier ones of its aggregate. */
  deleteUpTo(transaction: Kysely<Tables>, letter: DeadLetter): Promise<void>;
  /** Runs a part of the transaction: all of it or (by throwing) nothing. */
  savepoint(transaction: Kysely<Tables>, run: () => Promise<void>): Promise<void>;
}

export const keyOf = ({ aggregateType, aggregateId }: AggregateKey) => `${aggregateType} ${aggregateId}`;

export interface DatabaseDeadLettersOptions {
  readonly consumer: string;
  readonly source: string;
  /** The table of the dead letters, unless it is that of the service. */
  readonly table?: string;
}

/** Stores dead letters in the service's own database. */
export function databaseDeadLetters<Tables>(
  db: Kysely<Tables>,
  { consumer, source, table = 'dead_letters' }: DatabaseDeadLettersOptions,
): DeadLetterStore<Tables> {
  const letters = sql.table(table);
  return {
    async blocked(transaction, events) {
      const { rows: found } = await sql<{ some: boolean }>`
        select exists (select from ${letters} where consumer = ${consumer} and source = ${source}) as some
      `.execute(transaction);
      if (!found[0]?.some) return new Set();
      const { rows } = await sql<AggregateKey>`
        select aggregate_type as "aggregateType", aggregate_id as "aggregateId" from ${letters}
        where consumer = ${consumer} and source = ${source} and ${ofAggregates(events)}
        group by aggregate_type, aggregate_id
      `.execute(transaction);
      return new Set(rows.map(keyOf));
    },
    async add(transaction, events, error) {
      await sql`
        insert into ${letters} (consumer, source, position, aggregate_type, aggregate_id, event, error, attempts)
        select ${consumer}, event ->> 'source', (event ->> 'position')::bigint, event ->> 'aggregateType', event ->> 'aggregateId',
          event, ${error}, ${error === BEHIND ? 0 : 1}::integer
        from jsonb_array_elements(${JSON.stringify(events)}::jsonb) as events (event)
        on conflict (consumer, source, position) do update set event = excluded.event
      `.execute(transaction);
    },
    async deleteErased(transaction, erased) {
      await sql`delete from ${letters} where source = ${source} and ${ofAggregates(erased)}`.execute(transaction);
    },
    async eraseEarlier(transaction, erasing) {
      await sql`
        update ${letters} set
          event = jsonb_set(event, '{data}', '{"erased": true}'),
          error = case error when ${BEHIND} then error else ${ERASED} end
        where source = ${source} and ${ofAggregates([erasing])} and position < ${erasing.position}
          and event -> 'data' -> 'erased' is distinct from 'true'
      `.execute(transaction);
    },
    async aggregates(which) {
      const { rows } = await sql<AggregateKey>`
        select aggregate_type as "aggregateType", aggregate_id as "aggregateId" from ${letters}
        where consumer = ${consumer} and source = ${source}
        group by aggregate_type, aggregate_id
        having ${which} = 'all' or bool_or(event -> 'data' -> 'erased' = 'true')
        order by min(position)
      `.execute(db);
      return rows;
    },
    async ofAggregate(transaction, { aggregateType, aggregateId }) {
      const { rows } = await sql<DeadLetter>`
        select * from ${letters}
        where consumer = ${consumer} and source = ${source}
          and aggregate_type = ${aggregateType} and aggregate_id = ${aggregateId}
        order by position
      `.execute(transaction);
      return rows;
    },
    async noteFailure(transaction, { position }, error) {
      await sql`
        update ${letters} set attempts = attempts + 1, error = ${error}
        where consumer = ${consumer} and source = ${source} and position = ${position}
      `.execute(transaction);
    },
    async deleteUpTo(transaction, { position, aggregate_type: type, aggregate_id: id }) {
      await sql`
        delete from ${letters}
        where consumer = ${consumer} and source = ${source} and aggregate_type = ${type} and aggregate_id = ${id}
          and position <= ${position}
      `.execute(transaction);
    },
    savepoint: inSavepoint,
  };
}

const ofAggregates = (events: readonly LoggedEvent[]) => sql`
  (aggregate_type, aggregate_id) in (
    select * from unnest(
      ${events.map(({ aggregateType }) => aggregateType)}::text[], ${events.map(({ aggregateId }) => aggregateId)}::text[]
    )
  )`;

import { isErased, type LoggedEvent } from '@tributary/bus';
import { inSavepoint } from '@tributary/postgres';
import { causeOf, isPassing } from '@tributary/server';
import { type Kysely, sql } from 'kysely';
import type { ApplyEvents, EventSubscription, OnCommit } from './event-subscription.js';
import { inHalves } from './halves.js';
import { lockPosition } from './positions.js';

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

/** What a retry of one aggregate's dead letters came to. */
export interface RetryResult {
  readonly source: string;
  readonly aggregateType: string;
  readonly aggregateId: string;
  readonly applied: number;
  /** Why the next one could not be applied; null when all were. */
  readonly error: string | null;
}

const TABLE = 'dead_letters';
const BEHIND = 'waits behind an earlier event of its aggregate';
const ERASED = 'could not be applied; what it said was erased with its aggregate';

/** Where and how events are applied. */
export interface Application<Tables> {
  readonly consumer: string;
  readonly apply: ApplyEvents<Tables>;
  /** The table of the dead letters, unless it is that of the service. */
  readonly letters?: string;
  /** Commits the effect that `apply` has on events, or (by throwing) nothing of it. It may leave out events that took effect before. */
  readonly commit: (events: readonly LoggedEvent[], apply: ApplyEvents<Tables>) => Promise<void>;
  /** Called with an event that could not be applied and became a dead letter. */
  readonly onDeadLetter?: (event: LoggedEvent, error: string) => void;
}

/**
 * Applies events. An event that cannot be applied becomes a dead letter, and so does every later event of its aggregate. To
 * find it, the events are committed in halves.
 *
 * An event of an erased aggregate is applied although earlier ones of the aggregate are dead letters: an erasure does not wait.
 * Then these are obsolete and deleted. If it cannot be applied, it becomes a dead letter, and personal data is removed from these.
 *
 * @throws what is no fault of an event: a lost connection, a deadlock. Then it may be tried again.
 */
export async function applyOrDeadLetter<Tables>(
  events: readonly LoggedEvent[],
  { consumer, apply, letters = TABLE, commit, onDeadLetter }: Application<Tables>,
): Promise<void> {
  await inHalves(
    events,
    (part) =>
      commit(part, (transaction, given, onCommit) =>
        applyUnlessBlocked(transaction, { consumer, letters }, given, apply, onCommit),
      ),
    async (event, failure) => {
      const error = causeOf(failure);
      let added = false;
      await commit([event], async (transaction, [given]) => {
        if (!given) return;
        await addDeadLetters(transaction, { consumer, letters }, [given], error);
        if (isErased(given)) await eraseEarlier(transaction, letters, given);
        added = true;
      });
      if (added) onDeadLetter?.(event, error);
    },
  );
}

/** Applies events; those of an aggregate that has dead letters become dead letters, too. */
async function applyUnlessBlocked<Tables>(
  transaction: Kysely<Tables>,
  box: LetterBox,
  events: readonly LoggedEvent[],
  apply: ApplyEvents<Tables>,
  onCommit: OnCommit | undefined,
): Promise<void> {
  const [first] = events;
  if (!first) return;
  const blocked = await aggregatesWithDeadLetters(transaction, box, events);
  const behind: LoggedEvent[] = [];
  const next: LoggedEvent[] = [];
  for (const event of events) {
    if (isErased(event)) blocked.delete(keyOf(event));
    (blocked.has(keyOf(event)) ? behind : next).push(event);
  }
  if (behind.length > 0) await addDeadLetters(transaction, box, behind, BEHIND);
  if (next.length > 0) await apply(transaction, next, onCommit);
  const erased = next.filter(isErased);
  if (erased.length > 0) await deleteErased(transaction, box.letters, erased);
}

/** Dead letters in the order in which they would be applied. */
export async function listDeadLetters<Tables>(db: Kysely<Tables>): Promise<DeadLetter[]> {
  const { rows } = await sql<DeadLetter>`select * from dead_letters order by consumer, source, position`.execute(db);
  return rows;
}

/** How many dead letters a service has. */
export async function countDeadLetters<Tables>(db: Kysely<Tables>): Promise<number> {
  const { rows } = await sql<{ count: number }>`select count(*) as count from dead_letters`.execute(db);
  return rows[0]?.count ?? 0;
}

/**
 * Applies the dead letters of the subscriptions, aggregate by aggregate, in order; those that fail again stay.
 *
 * @param which `erased`: only aggregates whose owner has erased them, and of these what erases them and what follows
 */
export async function retryDeadLetters<Tables>(
  db: Kysely<Tables>,
  consumer: string,
  subscriptions: readonly EventSubscription<Tables>[],
  which: 'all' | 'erased' = 'all',
): Promise<RetryResult[]> {
  const results: RetryResult[] = [];
  for (const { source, apply } of subscriptions) {
    const { rows } = await sql<{ type: string; id: string }>`
      select aggregate_type as type, aggregate_id as id from dead_letters
      where consumer = ${consumer} and source = ${source}
      group by aggregate_type, aggregate_id
      having ${which} = 'all' or bool_or(event -> 'data' -> 'erased' = 'true')
      order by min(position)
    `.execute(db);
    for (const { type, id } of rows) {
      const result = await db.transaction().execute(async (transaction) => {
        await lockPosition(transaction, consumer, source);
        // Read under the lock: there may be more by now.
        const { rows: letters } = await sql<DeadLetter>`
          select * from dead_letters
          where consumer = ${consumer} and source = ${source} and aggregate_type = ${type} and aggregate_id = ${id}
          order by position
        `.execute(transaction);
        return retryAggregate(transaction, letters, apply);
      });
      results.push({ source, aggregateType: type, aggregateId: id, ...result });
    }
  }
  return results;
}

/** Up to the first event that fails again. @returns how many were applied, and why the next one was not */
async function retryAggregate<Tables>(
  transaction: Kysely<Tables>,
  letters: readonly DeadLetter[],
  apply: ApplyEvents<Tables>,
): Promise<{ applied: number; error: string | null }> {
  let applied = 0;
  // Dead letters before an erasure are obsolete.
  const start = Math.max(
    0,
    letters.findLastIndex(({ event }) => isErased(event)),
  );
  for (const { consumer, source, position, aggregate_type: type, aggregate_id: id, event } of letters.slice(start)) {
    try {
      await inSavepoint(transaction, () => apply(transaction, [event]));
    } catch (failure) {
      if (isPassing(failure)) throw failure;
      const error = causeOf(failure);
      await sql`
        update dead_letters set attempts = attempts + 1, error = ${error}
        where consumer = ${consumer} and source = ${source} and position = ${position}
      `.execute(transaction);
      if (isErased(event)) await eraseEarlier(transaction, TABLE, event);
      return { applied, error };
    }
    await sql`
      delete from dead_letters
      where consumer = ${consumer} and source = ${source} and aggregate_type = ${type} and aggregate_id = ${id}
        and position <= ${position}
    `.execute(transaction);
    applied += 1;
  }
  return { applied, error: null };
}

/** Gives up on one event: it will never take effect. */
export async function discardDeadLetter<Tables>(
  db: Kysely<Tables>,
  { consumer, source, position }: Pick<DeadLetter, 'consumer' | 'source' | 'position'>,
): Promise<boolean> {
  const { numAffectedRows } = await sql`
    delete from dead_letters where consumer = ${consumer} and source = ${source} and position = ${position}
  `.execute(db);
  return numAffectedRows === 1n;
}

/** The dead letters of a consumer, and the table in which they are. */
interface LetterBox {
  readonly consumer: string;
  readonly letters: string;
}

/** Those of the events' aggregates that have dead letters. */
async function aggregatesWithDeadLetters<Tables>(
  transaction: Kysely<Tables>,
  { consumer, letters }: LetterBox,
  events: readonly LoggedEvent[],
): Promise<Set<string>> {
  const source = events[0]?.source ?? '';
  const { rows: found } = await sql<{ some: boolean }>`
    select exists (select from ${sql.table(letters)} where consumer = ${consumer} and source = ${source}) as some
  `.execute(transaction);
  if (!found[0]?.some) return new Set();
  const { rows } = await sql<{ aggregateType: string; aggregateId: string }>`
    select aggregate_type as "aggregateType", aggregate_id as "aggregateId" from ${sql.table(letters)}
    where consumer = ${consumer} and source = ${source} and ${ofAggregates(events)}
    group by aggregate_type, aggregate_id
  `.execute(transaction);
  return new Set(rows.map(keyOf));
}

/** Stores dead letters. One that is stored already, because the position was set back, keeps its error and its attempts. */
async function addDeadLetters<Tables>(
  transaction: Kysely<Tables>,
  { consumer, letters }: LetterBox,
  events: readonly LoggedEvent[],
  error: string,
): Promise<void> {
  await sql`
    insert into ${sql.table(letters)} (consumer, source, position, aggregate_type, aggregate_id, event, error, attempts)
    select ${consumer}, event ->> 'source', (event ->> 'position')::bigint, event ->> 'aggregateType', event ->> 'aggregateId',
      event, ${error}, ${error === BEHIND ? 0 : 1}::integer
    from jsonb_array_elements(${JSON.stringify(events)}::jsonb) as events (event)
    on conflict (consumer, source, position) do update set event = excluded.event
  `.execute(transaction);
}

/** Deletes the dead letters of aggregates that were erased, of all consumers of this database. */
async function deleteErased<Tables>(
  transaction: Kysely<Tables>,
  letters: string,
  erased: readonly LoggedEvent[],
): Promise<void> {
  await sql`
    delete from ${sql.table(letters)} where source = ${erased[0]?.source} and ${ofAggregates(erased)}
  `.execute(transaction);
}

/** Removes personal data from the dead letters of an aggregate before the event that erases it. */
async function eraseEarlier<Tables>(transaction: Kysely<Tables>, letters: string, erasing: LoggedEvent): Promise<void> {
  await sql`
    update ${sql.table(letters)} set
      event = jsonb_set(event, '{data}', '{"erased": true}'),
      error = case error when ${BEHIND} then error else ${ERASED} end
    where source = ${erasing.source} and ${ofAggregates([erasing])} and position < ${erasing.position}
      and event -> 'data' -> 'erased' is distinct from 'true'
  `.execute(transaction);
}

const ofAggregates = (events: readonly LoggedEvent[]) => sql`
  (aggregate_type, aggregate_id) in (
    select * from unnest(
      ${events.map(({ aggregateType }) => aggregateType)}::text[], ${events.map(({ aggregateId }) => aggregateId)}::text[]
    )
  )`;

const keyOf = ({ aggregateType, aggregateId }: Pick<LoggedEvent, 'aggregateType' | 'aggregateId'>) =>
  `${aggregateType} ${aggregateId}`;

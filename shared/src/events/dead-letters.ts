import { type Kysely, sql } from 'kysely';
import { isPassing } from '../postgres/failure.js';
import type { LedgerEvent } from './event.js';
import type { ApplyEvents, Feed } from './feed.js';
import { lockPosition } from './positions.js';

/** An event that could not be applied, or that waits behind one of its aggregate that could not. */
export interface DeadLetter {
  readonly consumer: string;
  readonly source: string;
  readonly position: number;
  readonly aggregate_type: string;
  readonly aggregate_id: string;
  readonly event: LedgerEvent;
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

const BEHIND = 'waits behind an earlier event of its aggregate';

/**
 * Applies events; parks those that cannot be, and with them every later event of their aggregate. The others flow on.
 *
 * @throws what is no fault of an event: a lost connection, a deadlock. Then nothing was done and it may be tried again.
 */
export async function applyOrPark<Tables>(
  transaction: Kysely<Tables>,
  consumer: string,
  events: readonly LedgerEvent[],
  apply: ApplyEvents<Tables>,
): Promise<void> {
  const parked = await parkedAggregates(transaction, consumer, events[0]?.source ?? '');
  if (parked.size === 0 && (await attempt(transaction, () => apply(transaction, events))) === null) return;
  // Something in the batch is bad: one by one, to find out what.
  for (const event of events) {
    const key = keyOf(event.aggregateType, event.aggregateId);
    const error = parked.has(key) ? BEHIND : await attempt(transaction, () => apply(transaction, [event]));
    if (error === null) continue;
    parked.add(key);
    await park(transaction, consumer, event, error);
  }
}

/** Dead letters in the order in which they would be applied. */
export async function listDeadLetters<Tables>(db: Kysely<Tables>): Promise<DeadLetter[]> {
  const { rows } = await sql<DeadLetter>`select * from dead_letters order by consumer, source, position`.execute(db);
  return rows;
}

/** Applies all that is parked of the feeds, aggregate by aggregate, in order; what fails again stays. */
export async function retryDeadLetters<Tables>(
  db: Kysely<Tables>,
  consumer: string,
  feeds: readonly Feed<Tables>[],
): Promise<RetryResult[]> {
  const results: RetryResult[] = [];
  for (const { source, apply } of feeds) {
    const letters = (await listDeadLetters(db)).filter((letter) => letter.source === source);
    for (const { aggregate_type: aggregateType, aggregate_id: aggregateId } of firstOfEach(letters)) {
      const result = await db.transaction().execute(async (transaction) => {
        await lockPosition(transaction, consumer, source);
        // Read again under the lock: more may have been parked since.
        const parked = (await listDeadLetters(transaction)).filter(
          (letter) =>
            letter.source === source && letter.aggregate_type === aggregateType && letter.aggregate_id === aggregateId,
        );
        return retryAggregate(transaction, parked, apply);
      });
      results.push({ source, aggregateType, aggregateId, ...result });
    }
  }
  return results;
}

function firstOfEach(letters: readonly DeadLetter[]): DeadLetter[] {
  const byAggregate = letters.toReversed().map((letter) => {
    const { aggregate_type: type, aggregate_id: id } = letter;
    return [keyOf(type, id), letter] as const;
  });
  return [...new Map(byAggregate).values()];
}

/** Up to the first event that fails again. @returns how many were applied, and why the next one was not */
async function retryAggregate<Tables>(
  transaction: Kysely<Tables>,
  letters: readonly DeadLetter[],
  apply: ApplyEvents<Tables>,
): Promise<{ applied: number; error: string | null }> {
  let applied = 0;
  for (const { consumer, source, position, event } of letters) {
    const error = await attempt(transaction, () => apply(transaction, [event]));
    if (error !== null) {
      await sql`
        update dead_letters set attempts = attempts + 1, error = ${error}
        where consumer = ${consumer} and source = ${source} and position = ${position}
      `.execute(transaction);
      return { applied, error };
    }
    await discardDeadLetter(transaction, { consumer, source, position });
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

/** Whether something of a source is parked; ask under the lock of the position. */
export async function hasDeadLetters<Tables>(db: Kysely<Tables>, consumer: string, source: string): Promise<boolean> {
  const { rows } = await sql<{ found: boolean }>`
    select exists (select from dead_letters where consumer = ${consumer} and source = ${source}) as found
  `.execute(db);
  return rows[0]?.found ?? false;
}

async function parkedAggregates<Tables>(db: Kysely<Tables>, consumer: string, source: string): Promise<Set<string>> {
  const { rows } = await sql<{ aggregate_type: string; aggregate_id: string }>`
    select distinct aggregate_type, aggregate_id from dead_letters where consumer = ${consumer} and source = ${source}
  `.execute(db);
  return new Set(rows.map((row) => keyOf(row.aggregate_type, row.aggregate_id)));
}

async function park<Tables>(db: Kysely<Tables>, consumer: string, event: LedgerEvent, error: string): Promise<void> {
  await sql`
    insert into dead_letters (consumer, source, position, aggregate_type, aggregate_id, event, error, attempts)
    values (${consumer}, ${event.source}, ${event.position}, ${event.aggregateType}, ${event.aggregateId},
      ${JSON.stringify(event)}::jsonb, ${error}, ${error === BEHIND ? 0 : 1})
  `.execute(db);
}

/** @returns null, or why it failed (then nothing of it is left) */
async function attempt<Tables>(transaction: Kysely<Tables>, run: () => Promise<void>): Promise<string | null> {
  await sql`savepoint attempt`.execute(transaction);
  try {
    await run();
    await sql`release savepoint attempt`.execute(transaction);
    return null;
  } catch (error) {
    if (isPassing(error)) throw error;
    await sql`rollback to savepoint attempt`.execute(transaction);
    await sql`release savepoint attempt`.execute(transaction);
    return (error as Error).message;
  }
}

const keyOf = (type: string, id: string) => `${type} ${id}`;

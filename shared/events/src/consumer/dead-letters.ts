import { isErased, type LoggedEvent } from '@tributary/bus';
import { causeOf, isTransient, systemTime } from '@tributary/server';
import { type Kysely, sql } from 'kysely';
import { type ConsumerStore, databaseConsumerStore } from './consumer-store.js';
import { BEHIND, type DeadLetter, type DeadLetterStore, keyOf } from './dead-letter-store.js';
import type { ApplyEvents, EventSubscription, OnCommit } from './event-subscription.js';
import { inHalves } from './halves.js';

/** What a retry of one aggregate's dead letters came to. */
export interface RetryResult {
  readonly source: string;
  readonly aggregateType: string;
  readonly aggregateId: string;
  readonly applied: number;
  /** Why the next one could not be applied; null when all were. */
  readonly error: string | null;
}

/** Where and how events are applied. */
export interface Application<Tables> {
  readonly apply: ApplyEvents<Tables>;
  readonly deadLetters: DeadLetterStore<Tables>;
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
  { apply, deadLetters, commit, onDeadLetter }: Application<Tables>,
): Promise<void> {
  await inHalves(
    events,
    (part) =>
      commit(part, (transaction, given, onCommit) =>
        applyUnlessBlocked(transaction, deadLetters, given, apply, onCommit),
      ),
    async (event, failure) => {
      const error = causeOf(failure);
      let added = false;
      await commit([event], async (transaction, [given]) => {
        if (!given) return;
        await deadLetters.add(transaction, [given], error);
        if (isErased(given)) await deadLetters.eraseEarlier(transaction, given);
        added = true;
      });
      if (added) onDeadLetter?.(event, error);
    },
  );
}

/** Applies events; those of an aggregate that has dead letters become dead letters, too. */
async function applyUnlessBlocked<Tables>(
  transaction: Kysely<Tables>,
  deadLetters: DeadLetterStore<Tables>,
  events: readonly LoggedEvent[],
  apply: ApplyEvents<Tables>,
  onCommit: OnCommit | undefined,
): Promise<void> {
  const [first] = events;
  if (!first) return;
  const blocked = await deadLetters.blocked(transaction, events);
  const behind: LoggedEvent[] = [];
  const next: LoggedEvent[] = [];
  for (const event of events) {
    if (isErased(event)) blocked.delete(keyOf(event));
    (blocked.has(keyOf(event)) ? behind : next).push(event);
  }
  if (behind.length > 0) await deadLetters.add(transaction, behind, BEHIND);
  if (next.length > 0) await apply(transaction, next, onCommit);
  const erased = next.filter(isErased);
  if (erased.length > 0) await deadLetters.deleteErased(transaction, erased);
}

/** Whether the database has the consumers' tables: that of a service that never consumed events has none. */
async function hasDeadLetters<Tables>(db: Kysely<Tables>): Promise<boolean> {
  const { rows } = await sql<{ exists: boolean }>`select to_regclass('dead_letters') is not null as exists`.execute(db);
  return rows[0]?.exists ?? false;
}

/** Dead letters in the order in which they would be applied. */
export async function listDeadLetters<Tables>(db: Kysely<Tables>): Promise<DeadLetter[]> {
  if (!(await hasDeadLetters(db))) return [];
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
    const store = databaseConsumerStore(db, consumer, source, systemTime);
    results.push(...(await retrySource(store, source, apply, which)));
  }
  return results;
}

/** Applies the dead letters of one source, like `retryDeadLetters`. */
export async function retrySource<Tables>(
  { locked, deadLetters }: Pick<ConsumerStore<Tables>, 'locked' | 'deadLetters'>,
  source: string,
  apply: ApplyEvents<Tables>,
  which: 'all' | 'erased' = 'all',
): Promise<RetryResult[]> {
  const results: RetryResult[] = [];
  for (const aggregate of await deadLetters.aggregates(which)) {
    const result = await locked(async (transaction) => {
      // Read under the lock: there may be more by now.
      const letters = await deadLetters.ofAggregate(transaction, aggregate);
      return retryAggregate(transaction, deadLetters, letters, apply);
    });
    results.push({ source, ...aggregate, ...result });
  }
  return results;
}

/** Up to the first event that fails again. @returns how many were applied, and why the next one was not */
async function retryAggregate<Tables>(
  transaction: Kysely<Tables>,
  deadLetters: DeadLetterStore<Tables>,
  letters: readonly DeadLetter[],
  apply: ApplyEvents<Tables>,
): Promise<{ applied: number; error: string | null }> {
  let applied = 0;
  // Dead letters before an erasure are obsolete.
  const start = Math.max(
    0,
    letters.findLastIndex(({ event }) => isErased(event)),
  );
  for (const letter of letters.slice(start)) {
    const { event } = letter;
    try {
      await deadLetters.savepoint(transaction, () => apply(transaction, [event]));
    } catch (failure) {
      if (isTransient(failure)) throw failure;
      const error = causeOf(failure);
      await deadLetters.noteFailure(transaction, letter, error);
      if (isErased(event)) await deadLetters.eraseEarlier(transaction, event);
      return { applied, error };
    }
    await deadLetters.deleteUpTo(transaction, letter);
    applied += 1;
  }
  return { applied, error: null };
}

/** Gives up on one event: it will never take effect. */
export async function discardDeadLetter<Tables>(
  db: Kysely<Tables>,
  { consumer, source, position }: Pick<DeadLetter, 'consumer' | 'source' | 'position'>,
): Promise<boolean> {
  if (!(await hasDeadLetters(db))) return false;
  const { numAffectedRows } = await sql`
    delete from dead_letters where consumer = ${consumer} and source = ${source} and position = ${position}
  `.execute(db);
  return numAffectedRows === 1n;
}

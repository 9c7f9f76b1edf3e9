import { isErased, type LoggedEvent } from '@tributary/bus';
import type { ConsumerStore } from '@tributary/events';
import { type Clock, Turns } from '@tributary/server';
import type { Kysely } from 'kysely';
import type { LockedPosition } from '../../src/consumer/consumer-store.ts';
import { BEHIND, type DeadLetter, type DeadLetterStore, ERASED, keyOf } from '../../src/consumer/dead-letter-store.ts';
import { InMemoryDatabase, type InMemoryState } from './database.ts';

/** Stores the position and the dead letters of one consumer in memory. */
export function inMemoryConsumerStore(
  database: InMemoryDatabase,
  consumer: string,
  source: string,
  clock: Clock,
): ConsumerStore<unknown> {
  const turns = new Turns();
  return {
    deadLetters: inMemoryDeadLetters(database, consumer, source, clock),
    async readState() {
      const { position, inSyncAt, inSyncPosition } = database.committed;
      const isKnown = inSyncAt !== null && position >= inSyncPosition && inSyncAt <= clock.monotonic();
      return { position, everInSync: inSyncAt !== null, inSyncAt: isKnown ? inSyncAt : null };
    },
    locked: (run) =>
      turns.take(() =>
        database.transaction((transaction) =>
          run(transaction, lockedPosition(InMemoryDatabase.stateOf(transaction), clock)),
        ),
      ),
  };
}

function lockedPosition(state: InMemoryState, clock: Clock): LockedPosition {
  return {
    stored: state.position,
    async store(position) {
      state.position = position;
    },
    async storeInSyncTime(inSyncAt, sinceMs) {
      const { position, inSyncAt: noted, inSyncPosition } = state;
      const isOld =
        noted === null || inSyncPosition > position || noted > clock.monotonic() || noted < inSyncAt - sinceMs;
      if (isOld) Object.assign(state, { inSyncAt, inSyncPosition: position });
    },
  };
}

function inMemoryDeadLetters(
  database: InMemoryDatabase,
  consumer: string,
  source: string,
  clock: Clock,
): DeadLetterStore<unknown> {
  const lettersOf = (transaction: Kysely<unknown>) => InMemoryDatabase.stateOf(transaction).deadLetters;
  const letterOf = (event: LoggedEvent, error: string): DeadLetter => ({
    consumer,
    source,
    position: event.position,
    aggregate_type: event.aggregateType,
    aggregate_id: event.aggregateId,
    event,
    error,
    attempts: error === BEHIND ? 0 : 1,
    parked_at: new Date(clock.now()),
  });
  const inOrder = (letters: Map<number, DeadLetter>) => [...letters.values()].sort((a, b) => a.position - b.position);
  return {
    async blocked(transaction, events) {
      const all = new Set(inOrder(lettersOf(transaction)).map(({ event }) => keyOf(event)));
      return new Set(events.map(keyOf).filter((key) => all.has(key)));
    },
    async add(transaction, events, error) {
      const letters = lettersOf(transaction);
      for (const event of events) {
        const existing = letters.get(event.position);
        letters.set(event.position, existing ? { ...existing, event } : letterOf(event, error));
      }
    },
    async deleteErased(transaction, erased) {
      const letters = lettersOf(transaction);
      const keys = new Set(erased.map(keyOf));
      for (const [position, { event }] of letters) if (keys.has(keyOf(event))) letters.delete(position);
    },
    async eraseEarlier(transaction, erasing) {
      const letters = lettersOf(transaction);
      for (const [position, letter] of letters) {
        const { event, error } = letter;
        if (keyOf(event) !== keyOf(erasing) || position >= erasing.position || isErased(event)) continue;
        const erased = { ...event, data: { erased: true } };
        letters.set(position, { ...letter, event: erased, error: error === BEHIND ? error : ERASED });
      }
    },
    async aggregates(which) {
      const letters = inOrder(database.committed.deadLetters);
      const erased = new Set(letters.flatMap(({ event }) => (isErased(event) ? keyOf(event) : [])));
      const found = new Map<string, { aggregateType: string; aggregateId: string }>();
      for (const { event } of letters) {
        if (which === 'erased' && !erased.has(keyOf(event))) continue;
        const { aggregateType, aggregateId } = event;
        if (!found.has(keyOf(event))) found.set(keyOf(event), { aggregateType, aggregateId });
      }
      return [...found.values()];
    },
    async ofAggregate(transaction, aggregate) {
      return inOrder(lettersOf(transaction)).filter(({ event }) => keyOf(event) === keyOf(aggregate));
    },
    async noteFailure(transaction, letter, error) {
      lettersOf(transaction).set(letter.position, { ...letter, attempts: letter.attempts + 1, error });
    },
    async deleteUpTo(transaction, { event: last }) {
      const letters = lettersOf(transaction);
      for (const [position, { event }] of letters) {
        if (keyOf(event) === keyOf(last) && position <= last.position) letters.delete(position);
      }
    },
    savepoint: (transaction, run) => database.savepoint(transaction, run),
  };
}

import type { Clock } from '@tributary/server';
import type { Kysely } from 'kysely';
import { type DeadLetterStore, databaseDeadLetters } from './dead-letter-store.js';
import { lockPosition, readCopyState, type StoredCopyState, storeInSyncTime, storePosition } from './positions.js';

/** A consumer's position, locked until the transaction ends. */
export interface LockedPosition {
  readonly stored: number;
  store(position: number): Promise<void>;
  /** @param inSyncAt by the monotonic clock @param sinceMs by how much it must be newer than the stored time */
  storeInSyncTime(inSyncAt: number, sinceMs: number): Promise<void>;
}

/** The port through which a consumer reads and stores how far it is, and what it could not apply. */
export interface ConsumerStore<Tables> {
  readonly deadLetters: DeadLetterStore<Tables>;
  readState(): Promise<StoredCopyState>;
  /** Runs work in one transaction that holds the lock on the position. */
  locked<Result>(run: (transaction: Kysely<Tables>, position: LockedPosition) => Promise<Result>): Promise<Result>;
}

/** Stores the position of `consumer` in the service's own database, beside the effects of the events. */
export function databaseConsumerStore<Tables>(
  db: Kysely<Tables>,
  consumer: string,
  source: string,
  clock: Clock,
): ConsumerStore<Tables> {
  return {
    deadLetters: databaseDeadLetters(db, { consumer, source }),
    readState: () => readCopyState(db, consumer, source, clock),
    locked: (run) =>
      db.transaction().execute(async (transaction) =>
        run(transaction, {
          stored: await lockPosition(transaction, consumer, source),
          store: (position) => storePosition(transaction, consumer, source, position),
          storeInSyncTime: (inSyncAt, sinceMs) =>
            storeInSyncTime(transaction, consumer, source, inSyncAt, sinceMs, clock),
        }),
      ),
  };
}

import { type Kysely, sql } from 'kysely';
import type { EventLog } from '../event-log/event-log-client.js';
import { EventsDeletedError } from '../outbox/outbox.js';
import { lockPosition, storePosition } from './positions.js';

/**
 * Events that a consumer has not applied and can never read, because their owner's retention has deleted them: the consumer was put
 * back from an older backup, or was away for too long. It applies nothing more until its position is moved.
 */
export interface Gap {
  readonly consumer: string;
  readonly source: string;
  /** The consumer's position: the last event that took effect. */
  readonly after: number;
  /** The end of the owner's event log when the gap was found; whatever comes later can be read. */
  readonly upTo: number;
}

/** @returns null when the consumer can read on @throws when the owner does not answer */
export async function findGap<Tables>(
  db: Kysely<Tables>,
  consumer: string,
  { source, eventLog }: { readonly source: string; readonly eventLog: EventLog },
): Promise<Gap | null> {
  const { rows } = await sql<{ position: number }>`
    select position from consumer_positions where consumer = ${consumer} and source = ${source}
  `.execute(db);
  const after = rows[0]?.position ?? 0;
  try {
    await eventLog.read(after, 1);
    return null;
  } catch (error) {
    if (!(error instanceof EventsDeletedError)) throw error;
  }
  // Nothing follows the greatest of all positions, but the answer says where the event log ends.
  const { head: upTo } = await eventLog.read(Number.MAX_SAFE_INTEGER, 1);
  return { consumer, source, after, upTo };
}

/**
 * Moves the consumer beyond the gap, so that it applies what comes next. The effects of the deleted events must have been copied from
 * the owner after the gap was found.
 *
 * @returns false when the consumer has moved meanwhile; then nothing is done
 */
export function skipGap<Tables>(db: Kysely<Tables>, { consumer, source, after, upTo }: Gap): Promise<boolean> {
  return db.transaction().execute(async (transaction) => {
    if ((await lockPosition(transaction, consumer, source)) !== after) return false;
    await storePosition(transaction, consumer, source, upTo);
    return true;
  });
}

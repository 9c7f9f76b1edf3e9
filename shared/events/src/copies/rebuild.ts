import { exclusively, inSavepoint } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { databaseDeadLetters } from '../consumer/dead-letter-store.js';
import { type Application, applyOrDeadLetter } from '../consumer/dead-letters.js';
import type { ApplyEvents } from '../consumer/event-subscription.js';
import { lockPosition } from '../consumer/positions.js';
import type { EventLogClient } from '../event-log/event-log-client.js';
import { EventsDeletedError } from '../outbox/outbox.js';

const PAGE = 500;

/** A copy that can be rebuilt from its owner's event log. */
export interface RebuildableCopy<Tables> {
  readonly source: string;
  readonly aggregateType: string;
  readonly table: string;
  readonly eventLog: EventLogClient;
  /** Applies events to a table with the copy's columns. */
  readonly applyTo: (table: string) => ApplyEvents<Tables>;
}

/**
 * Rebuilds a copy from the first event on, while the old one is read and updated: in a shadow table, until that has caught up; then
 * one transaction replaces the rows. Readers see the old rows or the new ones.
 *
 * The shadow, and the dead letters that it makes, are temporary tables: no other session sees them, and they are dropped with the
 * connection, however the rebuild ends.
 *
 * @param onEvents called with the number of events that each page applied
 * @returns how many events were applied
 * @throws EventsDeletedError when retention has deleted the beginning of the event log
 * @throws AlreadyRunningError while another rebuild of the copy runs
 */
export function rebuildCopy<Tables>(
  db: Kysely<Tables>,
  consumer: string,
  copy: RebuildableCopy<Tables>,
  onEvents?: (count: number) => void,
): Promise<number> {
  return exclusively(db, `rebuild ${copy.table}`, async (connection) => {
    try {
      return await rebuildThroughShadow(connection, consumer, copy, onEvents);
    } catch (error) {
      if (!(error instanceof EventsDeletedError)) throw error;
      throw new EventsDeletedError(
        `The copy of ${copy.source} cannot be rebuilt: ${copy.source} has deleted the beginning of its event log (EVENT_LOG_RETENTION). "verify --repair" repairs the copy from what ${copy.source} has now.`,
      );
    } finally {
      await dropShadow(connection, copy.table);
    }
  });
}

const shadowOf = (table: string) => ({ shadow: `${table}_shadow`, letters: `${table}_shadow_letters` });

async function rebuildThroughShadow<Tables>(
  connection: Kysely<Tables>,
  consumer: string,
  copy: RebuildableCopy<Tables>,
  onEvents?: (count: number) => void,
): Promise<number> {
  const { shadow, letters } = shadowOf(copy.table);
  const apply = copy.applyTo(shadow);
  await dropShadow(connection, copy.table);
  await sql`
    create temporary table ${sql.table(shadow)} (like ${sql.table(copy.table)} including all);
    create temporary table ${sql.table(letters)} (like dead_letters including all)
  `.execute(connection);
  const deadLetters = databaseDeadLetters(connection, { consumer, source: copy.source, table: letters });
  let position = 0;
  /** Applies the next page of the event log. @returns whether there was one */
  const applyPage = async (commit: Application<Tables>['commit']): Promise<boolean> => {
    const { events } = await copy.eventLog.read(position, PAGE);
    const last = events.at(-1);
    if (!last) return false;
    await applyOrDeadLetter(events, { deadLetters, apply, commit });
    onEvents?.(events.length);
    position = last.position;
    return true;
  };
  const inTransaction: Application<Tables>['commit'] = (events, run) =>
    connection.transaction().execute((transaction) => run(transaction, events));
  for (let more = true; more; ) more = await applyPage(inTransaction);
  await sql`analyze ${sql.table(shadow)}`.execute(connection);
  await connection.transaction().execute(async (transaction) => {
    const live = await lockPosition(transaction, consumer, copy.source);
    // A look-up at the owner writes to the copy without the position. It waits from here on; readers do not.
    await sql`lock table ${sql.table(copy.table)} in share row exclusive mode`.execute(transaction);
    while (position < live) {
      if (await applyPage((events, run) => inSavepoint(transaction, () => run(transaction, events)))) continue;
      throw new Error(`The event log of ${copy.source} ends at ${position}, and this service has read it to ${live}.`);
    }
    // A row that is newer than the shadow's stays: a look-up brought it ahead of its event.
    await sql`
      delete from ${sql.table(copy.table)} as current
      where not exists (
        select from ${sql.table(shadow)} as rebuilt where rebuilt.id = current.id and rebuilt.version < current.version
      )
    `.execute(transaction);
    await sql`
      insert into ${sql.table(copy.table)} select * from ${sql.table(shadow)} on conflict (id) do nothing
    `.execute(transaction);
    // Other aggregate types of this source have effects that are not rebuilt, so the consumer's position stays. Events that the
    // shadow has applied beyond it have no effect when the consumer applies them.
    await sql`
      delete from dead_letters
      where consumer = ${consumer} and source = ${copy.source} and aggregate_type = ${copy.aggregateType}
    `.execute(transaction);
    await sql`
      insert into dead_letters select * from ${sql.table(letters)}
      where aggregate_type = ${copy.aggregateType} and position <= ${live}
    `.execute(transaction);
  });
  return position;
}

async function dropShadow<Tables>(connection: Kysely<Tables>, table: string): Promise<void> {
  const { shadow, letters } = shadowOf(table);
  await sql`drop table if exists ${sql.table(shadow)}, ${sql.table(letters)}`.execute(connection);
}

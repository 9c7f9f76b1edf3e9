import { type Kysely, sql } from 'kysely';
import { exclusively } from '../postgres/exclusive.js';
import { applyOrPark } from './dead-letters.js';
import type { ApplyEvents } from './feed.js';
import type { LedgerClient } from './ledger-client.js';
import { lockPosition } from './positions.js';

const PAGE = 500;

/** A copy that can be made anew from its owner's ledger. */
export interface RebuildableCopy<Tables> {
  readonly source: string;
  readonly aggregateType: string;
  readonly table: string;
  readonly ledger: LedgerClient;
  /** Applies events to a table that is made like the copy's own. */
  readonly applyTo: (table: string) => ApplyEvents<Tables>;
}

/**
 * Makes a copy anew from the first event on, while the old one is read and kept fresh: into a shadow table, until that is
 * level; then, in one transaction, the rows change places. Readers see the old rows or the new ones.
 *
 * @param onEvents told how many events were applied, as it goes
 * @returns how many events were applied
 * @throws LedgerGoneError when retention has deleted the beginning of the ledger
 * @throws AlreadyRunningError while another rebuild of the copy is under way
 */
export function rebuildCopy<Tables>(
  db: Kysely<Tables>,
  consumer: string,
  copy: RebuildableCopy<Tables>,
  onEvents?: (count: number) => void,
): Promise<number> {
  return exclusively(db, `rebuild ${copy.table}`, () => rebuildThroughShadow(db, consumer, copy, onEvents));
}

async function rebuildThroughShadow<Tables>(
  db: Kysely<Tables>,
  consumer: string,
  copy: RebuildableCopy<Tables>,
  onEvents?: (count: number) => void,
): Promise<number> {
  const shadow = `${copy.table}_shadow`;
  const shadowConsumer = `${consumer} (rebuild)`;
  const apply = copy.applyTo(shadow);
  await dropShadow(db, shadow, shadowConsumer, copy.source);
  await sql`create table ${sql.table(shadow)} (like ${sql.table(copy.table)} including all)`.execute(db);
  try {
    let position = 0;
    const applyPage = async (target: Kysely<Tables>, after: number): Promise<number> => {
      const { events } = await copy.ledger.read(after, PAGE);
      const last = events.at(-1);
      if (!last) return after;
      await applyOrPark(target, shadowConsumer, events, apply);
      onEvents?.(events.length);
      return last.position;
    };
    for (;;) {
      const next = await db.transaction().execute((transaction) => applyPage(transaction, position));
      if (next === position) break;
      position = next;
    }
    await db.transaction().execute(async (transaction) => {
      const live = await lockPosition(transaction, consumer, copy.source);
      // A look-up at the owner writes to the copy without the position. It waits from here on; readers do not.
      await sql`lock table ${sql.table(copy.table)} in share row exclusive mode`.execute(transaction);
      while (position < live) {
        const next = await applyPage(transaction, position);
        if (next === position) {
          throw new Error(
            `The event log of ${copy.source} ends at ${position}, and this service has read it to ${live}.`,
          );
        }
        position = next;
      }
      // A row that is newer than the shadow's stays: a look-up brought it ahead of its event.
      await sql`
        delete from ${sql.table(copy.table)} as kept
        where not exists (
          select from ${sql.table(shadow)} as rebuilt where rebuilt.id = kept.id and rebuilt.version < kept.version
        )
      `.execute(transaction);
      await sql`
        insert into ${sql.table(copy.table)} select * from ${sql.table(shadow)} on conflict (id) do nothing
      `.execute(transaction);
      // Other kinds of aggregates of this source feed other things, which are not made anew; so the consumer's position stays
      // too, and what the shadow has seen beyond it changes nothing when it comes.
      await sql`
        delete from dead_letters
        where consumer = ${consumer} and source = ${copy.source} and aggregate_type = ${copy.aggregateType}
      `.execute(transaction);
      await sql`
        update dead_letters set consumer = ${consumer}
        where consumer = ${shadowConsumer} and source = ${copy.source} and position <= ${live}
      `.execute(transaction);
    });
    return position;
  } finally {
    await dropShadow(db, shadow, shadowConsumer, copy.source);
  }
}

async function dropShadow<Tables>(
  db: Kysely<Tables>,
  shadow: string,
  shadowConsumer: string,
  source: string,
): Promise<void> {
  await sql`drop table if exists ${sql.table(shadow)}`.execute(db);
  await sql`delete from dead_letters where consumer = ${shadowConsumer} and source = ${source}`.execute(db);
}

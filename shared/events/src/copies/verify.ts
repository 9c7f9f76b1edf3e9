import type { LoggedEvent } from '@tributary/bus';
import { inSavepoint } from '@tributary/postgres';
import { systemTime, type Timers } from '@tributary/server';
import { type Kysely, sql } from 'kysely';
import type { ApplyEvents } from '../consumer/event-subscription.js';
import { inHalves } from '../consumer/halves.js';
import { lockPosition } from '../consumer/positions.js';
import type { EventLogClient } from '../event-log/event-log-client.js';
import { type AggregateState, MAX_IDS, rangeChecksums, rowsOfRange, type StateSource } from './aggregates.js';

/** A difference may be an event in transit: it counts after this many comparisons. */
export const LOOKS = 4;
export const BETWEEN_LOOKS_MS = 500;

/** Two sides that must be equal: the owner's aggregates, and what this service has or expects of them. */
export interface Comparison {
  readonly aggregateType: string;
  /** A view, or a query, of `id`, `version` and `checksum`, made as the owner makes its own. */
  readonly checksumView: StateSource;
  readonly eventLog: EventLogClient;
}

/** A copy that can be compared with its owner. */
export interface VerifiableCopy<Tables> extends Comparison {
  readonly source: string;
  readonly table: string;
  readonly apply: ApplyEvents<Tables>;
}

/** A row that differs from its owner's. A version is null where the row is missing. */
export interface Difference {
  readonly id: string;
  readonly ownerVersion: number | null;
  readonly copyVersion: number | null;
}

/**
 * Compares a whole copy with its owner, range by range, and the rows of those ranges that differ.
 *
 * @throws when the owner does not answer, or the signal is aborted
 */
export async function findDifferences<Tables>(
  db: Kysely<Tables>,
  copy: Comparison,
  signal?: AbortSignal,
  timers: Timers = systemTime,
): Promise<Difference[]> {
  let differences: Difference[] = [];
  for (let look = 1; look <= LOOKS; look++) {
    differences = await compareOnce(db, copy, signal);
    if (differences.length === 0 || look === LOOKS) break;
    await timers.sleep(BETWEEN_LOOKS_MS, signal);
  }
  return differences;
}

/**
 * Repairs rows from the owner's present state, while events are applied. @returns how many rows; the others cannot be applied
 *
 * @throws when the owner does not answer within 5 s; what is repaired by then stays so
 */
export async function repairDifferences<Tables>(
  db: Kysely<Tables>,
  consumer: string,
  copy: VerifiableCopy<Tables>,
  differences: readonly Difference[],
): Promise<number> {
  let repaired = 0;
  for (let i = 0; i < differences.length; i += MAX_IDS)
    repaired += await repairSome(db, consumer, copy, differences.slice(i, i + MAX_IDS));
  return repaired;
}

/** @param differences at most `MAX_IDS`: events wait during the repair */
function repairSome<Tables>(
  db: Kysely<Tables>,
  consumer: string,
  copy: VerifiableCopy<Tables>,
  differences: readonly Difference[],
): Promise<number> {
  return db.transaction().execute(async (transaction) => {
    // No event takes effect from here on until the rows are repaired, so none that is newer than the owner's state, which is
    // read after this, is undone. Those that come later are newer, or change nothing.
    await lockPosition(transaction, consumer, copy.source);
    const ids = differences.map(({ id }) => id);
    const owned = new Map(
      (await copy.eventLog.aggregatesById(copy.aggregateType, ids)).map((state) => [state.id, state]),
    );
    let repaired = 0;
    const repair = async (part: readonly Difference[]) => {
      const ids = part.map(({ id }) => id);
      const states = ids.flatMap((id) => owned.get(id) ?? []);
      await sql`delete from ${sql.table(copy.table)} where id = any(${ids})`.execute(transaction);
      if (states.length > 0) {
        await copy.apply(
          transaction,
          states.map((state) => stateEvent(copy, state)),
        );
        await deleteObsolete(transaction, consumer, copy, states);
      }
    };
    await inHalves(
      differences,
      async (part) => {
        await inSavepoint(transaction, () => repair(part));
        repaired += part.length;
      },
      // The row stays different, and the next comparison reports it.
      async () => undefined,
    );
    return repaired;
  });
}

/** Deletes the dead letters of aggregates whose later state has been applied. */
async function deleteObsolete<Tables>(
  transaction: Kysely<Tables>,
  consumer: string,
  { source, aggregateType }: VerifiableCopy<Tables>,
  states: readonly AggregateState[],
): Promise<void> {
  await sql`
    delete from dead_letters using unnest(
      ${states.map(({ id }) => id)}::text[], ${states.map(({ version }) => version)}::integer[]
    ) as repaired (id, version)
    where consumer = ${consumer} and source = ${source} and aggregate_type = ${aggregateType}
      and aggregate_id = repaired.id and (event ->> 'aggregateVersion')::bigint <= repaired.version
  `.execute(transaction);
}

/** Compares two sides once, each in its own snapshot: rows that change meanwhile may differ. */
export async function compareOnce<Tables>(
  db: Kysely<Tables>,
  copy: Comparison,
  signal?: AbortSignal,
): Promise<Difference[]> {
  const [theirs, ours] = await Promise.all([
    copy.eventLog.rangeChecksums(copy.aggregateType, signal),
    rangeChecksums(db, copy.checksumView),
  ]);
  const byRange = new Map(ours.map((range) => [range.range, range]));
  const suspects = new Set(
    theirs
      .filter(
        ({ range, count, checksum }) =>
          byRange.get(range)?.count !== count || byRange.get(range)?.checksum !== checksum,
      )
      .map(({ range }) => range),
  );
  const owned = new Set(theirs.map(({ range }) => range));
  for (const { range } of ours) if (!owned.has(range)) suspects.add(range);

  const differences: Difference[] = [];
  for (const range of suspects) differences.push(...(await compareRange(db, copy, range, signal)));
  return differences;
}

async function compareRange<Tables>(
  db: Kysely<Tables>,
  copy: Comparison,
  range: number,
  signal: AbortSignal | undefined,
): Promise<Difference[]> {
  const [theirs, ours] = await Promise.all([
    copy.eventLog.aggregates(copy.aggregateType, range, signal),
    rowsOfRange<Tables, { id: string; version: number; checksum: string }>(db, copy.checksumView, range),
  ]);
  const owned = new Map(theirs.map((row) => [row.id, row]));
  const copied = new Map(ours.map((row) => [row.id, row]));
  return [...new Set([...owned.keys(), ...copied.keys()])]
    .filter((id) => owned.get(id)?.checksum !== copied.get(id)?.checksum)
    .map((id) => ({ id, ownerVersion: owned.get(id)?.version ?? null, copyVersion: copied.get(id)?.version ?? null }));
}

/** An owner's present state as the event that a copy applies. A copy at that version, or a newer one, does not change. */
export function stateEvent(
  { source, aggregateType }: Pick<VerifiableCopy<never>, 'source' | 'aggregateType'>,
  state: AggregateState,
): LoggedEvent {
  return {
    position: 1,
    id: 'state',
    source,
    type: state.type,
    schemaVersion: 1,
    aggregateType,
    aggregateId: state.id,
    aggregateVersion: state.version,
    occurredAt: new Date().toISOString(),
    correlationId: null,
    causationId: null,
    traceparent: null,
    data: state.data,
  };
}

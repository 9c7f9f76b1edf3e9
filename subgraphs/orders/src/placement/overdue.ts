import { causeOf, isTransient } from '@tributary/server';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import type { OrdersTables } from '../storage/tables.js';
import { PlacementBatch, type PlacementSettings } from './placement-batch.js';
import { SagaStore, type StoredSaga } from './saga-store.js';

const BATCH = 100;
/** A saga that cannot be moved on is due again after this. */
const RETRY_MS = 60_000;

/**
 * Moves on the sagas that waited too long for an answer, together. When that fails, each is moved on alone, so that one that
 * cannot be does not keep the others.
 *
 * @returns whether there may be more of them
 */
export async function moveOverdueSagas(
  db: Kysely<OrdersTables>,
  settings: PlacementSettings,
  logger: Logger,
): Promise<boolean> {
  try {
    return (await moveDue(db, settings, BATCH)).length === BATCH;
  } catch (error) {
    if (isTransient(error)) throw error;
  }
  for (let moved = 0; moved < BATCH; moved++) {
    if (!(await moveOldest(db, settings, logger))) return false;
  }
  return true;
}

/** @param onLocked called with the sagas that are about to be moved on */
async function moveDue(
  db: Kysely<OrdersTables>,
  settings: PlacementSettings,
  limit: number,
  onLocked?: (sagas: readonly StoredSaga[]) => void,
): Promise<readonly StoredSaga[]> {
  const { sagas, batch } = await db.transaction().execute(async (transaction) => {
    const sagas = await new SagaStore(transaction).lockDue(limit);
    onLocked?.(sagas);
    if (sagas.length === 0) return { sagas, batch: null };
    const ids = sagas.map(({ id }) => id);
    const batch = await new PlacementBatch(transaction, settings).load(ids, sagas);
    for (const { id, origin } of sagas) batch.dispatch(id, { type: 'Due' }, origin);
    await batch.save();
    return { sagas, batch };
  });
  batch?.count();
  return sagas;
}

/** Moves the oldest one on, or puts it off when it cannot be moved on. @returns whether there was one */
async function moveOldest(db: Kysely<OrdersTables>, settings: PlacementSettings, logger: Logger): Promise<boolean> {
  let oldest: StoredSaga | undefined;
  try {
    const moved = await moveDue(db, settings, 1, ([saga]) => {
      oldest = saga;
    });
    return moved.length > 0;
  } catch (error) {
    if (isTransient(error) || !oldest) throw error;
    logger.error({ problem: causeOf(error), order: oldest.id }, 'an overdue saga could not be moved on');
    await new SagaStore(db).postpone(oldest.id, RETRY_MS);
    return true;
  }
}

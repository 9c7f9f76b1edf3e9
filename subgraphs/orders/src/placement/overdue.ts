import type { Kysely } from 'kysely';
import type { OrdersTables } from '../storage/tables.js';
import { PlacementBatch, type PlacementSettings } from './placement-batch.js';
import { SagaStore } from './saga-store.js';

const BATCH = 100;

/** Moves on the sagas that waited too long for an answer. @returns whether there may be more of them */
export async function moveOverdueSagas(db: Kysely<OrdersTables>, settings: PlacementSettings): Promise<boolean> {
  return db.transaction().execute(async (transaction) => {
    const sagas = await new SagaStore(transaction).lockDue(BATCH);
    if (sagas.length === 0) return false;
    const ids = sagas.map(({ id }) => id);
    const batch = await new PlacementBatch(transaction, settings).load(ids, sagas);
    for (const { id, origin } of sagas) batch.tell(id, { type: 'Due' }, origin);
    await batch.save();
    return sagas.length === BATCH;
  });
}

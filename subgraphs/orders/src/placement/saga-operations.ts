import type { Kysely } from 'kysely';
import type { OrdersTables, PlacementSagaRow } from '../storage/tables.js';
import { PlacementBatch, type PlacementSettings } from './placement-batch.js';
import type { SagaInput } from './saga.js';
import { SagaStore } from './saga-store.js';

/** A saga that is not over, as an operator sees it. */
export type OpenSaga = Pick<PlacementSagaRow, 'order_id' | 'status' | 'steps' | 'failure' | 'started_at' | 'due_at'>;

/** Sagas that are not over, the oldest first. */
export function listOpenSagas(db: Kysely<OrdersTables>, limit: number): Promise<OpenSaga[]> {
  return db
    .selectFrom('placement_sagas')
    .select(['order_id', 'status', 'steps', 'failure', 'started_at', 'due_at'])
    .where('finished_at', 'is', null)
    .orderBy('started_at')
    .limit(limit)
    .execute();
}

/** Tells a saga what an operator wants. @returns whether that changed anything; null when there is no such saga */
export async function tellSaga(
  db: Kysely<OrdersTables>,
  settings: PlacementSettings,
  orderId: string,
  input: Extract<SagaInput, { type: 'Retry' | 'Resolve' }>,
): Promise<boolean | null> {
  const batch = await db.transaction().execute(async (transaction) => {
    const sagas = await new SagaStore(transaction).lock([orderId]);
    const [saga] = sagas;
    if (!saga) return null;
    const batch = await new PlacementBatch(transaction, settings).load([orderId], sagas);
    batch.tell(orderId, input, saga.origin);
    await batch.save();
    return batch;
  });
  batch?.count();
  return batch?.changed(orderId) ?? null;
}

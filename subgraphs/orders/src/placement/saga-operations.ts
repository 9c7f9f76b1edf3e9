import type { Kysely } from 'kysely';
import type { OrdersTables, PlacementSagaRow } from '../storage/tables.js';
import { PlacementBatch, type PlacementSettings } from './placement-batch.js';
import type { SagaInput } from './saga.js';
import { SagaStore } from './saga-store.js';

/** A saga that is not over, as an operator sees it. */
export interface OpenSaga
  extends Pick<PlacementSagaRow, 'order_id' | 'status' | 'steps' | 'failure' | 'started_at' | 'due_at'> {
  /** Of the order; null while its read model is rebuilt. */
  readonly number: string | null;
}

/** Sagas that are not over, the oldest first. */
export function listOpenSagas(db: Kysely<OrdersTables>, limit: number): Promise<OpenSaga[]> {
  return db
    .selectFrom('placement_sagas')
    .leftJoin('orders_read', 'orders_read.id', 'placement_sagas.order_id')
    .select(['order_id', 'number', 'placement_sagas.status', 'steps', 'failure', 'started_at', 'due_at'])
    .where('finished_at', 'is', null)
    .orderBy('started_at')
    .limit(limit)
    .execute();
}

/** @param order the number or the id of an order @returns the id of the order; null when no saga placed it */
export async function findPlacement(db: Kysely<OrdersTables>, order: string): Promise<string | null> {
  const found = await db
    .selectFrom('placement_sagas')
    .select('order_id')
    .where(({ or, eb, selectFrom }) =>
      or([
        eb('order_id', '=', order),
        eb('order_id', '=', selectFrom('orders_read').select('id').where('number', '=', order)),
      ]),
    )
    .executeTakeFirst();
  return found?.order_id ?? null;
}

/** Dispatches an operator's command to a saga. @returns whether that changed anything; null when there is no such saga */
export async function dispatchToSaga(
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
    batch.dispatch(orderId, input, saga.origin);
    await batch.save();
    return batch;
  });
  batch?.count();
  return batch?.changed(orderId) ?? null;
}

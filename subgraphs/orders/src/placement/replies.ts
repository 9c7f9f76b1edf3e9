import { causedBy, type LoggedEvent } from '@tributary/bus';
import type { ApplyEvents } from '@tributary/events';
import { z } from 'zod';
import type { OrdersTables } from '../storage/tables.js';
import { PlacementBatch, type PlacementSettings } from './placement-batch.js';
import type { SagaInput } from './saga.js';
import { SagaStore } from './saga-store.js';

/** The fields of the answers that this service reads; others may be added or removed. */
const reservedSchema = z.object({ lines: z.array(z.object({ productId: z.string(), unitPrice: z.string() })) });
const stockRefusedSchema = z.object({ command: z.enum(['ReserveStock', 'CommitStock']), reason: z.string() });
const refusedSchema = z.object({ reason: z.string() });

/** An answer of another service, for the saga of its order. */
interface Reply {
  readonly event: LoggedEvent;
  readonly input: SagaInput;
  readonly prices?: ReadonlyMap<string, string>;
}

/** Whether an event answers a saga's command. */
export const isReply = ({ aggregateType }: LoggedEvent) =>
  aggregateType === 'Reservation' || aggregateType === 'Payment';

/** Moves sagas on by what the other services answered: reservations of products, payments of users. */
export const applyReplies =
  (settings: PlacementSettings): ApplyEvents<OrdersTables> =>
  async (transaction, events, onCommit) => {
    const replies = events.flatMap(readReply);
    if (replies.length === 0) return;
    const orderIds = [...new Set(replies.map(({ event }) => event.aggregateId))];
    const sagas = await new SagaStore(transaction).lock(orderIds);
    const ours = sagas.map(({ id }) => id);
    const batch = await new PlacementBatch(transaction, settings).load(ours, sagas);
    for (const { event, input, prices } of replies) batch.dispatch(event.aggregateId, input, causedBy(event), prices);
    await batch.save();
    onCommit?.(() => batch.count());
  };

function readReply(event: LoggedEvent): Reply[] {
  const { type, data } = event;
  switch (type) {
    case 'StockReserved': {
      const { lines } = reservedSchema.parse(data);
      const prices = new Map(lines.map(({ productId, unitPrice }) => [productId, unitPrice]));
      return [{ event, input: { type }, prices }];
    }
    case 'StockRefused':
      return [{ event, input: { type, ...stockRefusedSchema.parse(data) } }];
    case 'PaymentRefused':
      return [{ event, input: { type, ...refusedSchema.parse(data) } }];
    case 'StockCommitted':
    case 'StockReleased':
    case 'PaymentCharged':
    case 'PaymentRefunded':
      return [{ event, input: { type } }];
    default:
      return [];
  }
}

import type { EventSubscription } from '@tributary/events';
import type { Copy } from './copies/copies.js';
import type { PlacementSettings } from './placement/placement-batch.js';
import { applyReplies, isReply } from './placement/replies.js';
import type { OrdersTables } from './storage/tables.js';

/** The events of other services that orders applies: those of its copies, and the replies to its sagas' commands. */
export function subscriptionsOf(
  copies: readonly Copy[],
  settings: PlacementSettings,
): EventSubscription<OrdersTables>[] {
  const applyRepliesTo = applyReplies(settings);
  return copies.map(({ source, aggregateType, eventLog, apply }) => ({
    source,
    eventLog,
    filter: (event) => event.aggregateType === aggregateType || isReply(event),
    async apply(transaction, events, onCommit) {
      await apply(transaction, events);
      await applyRepliesTo(transaction, events, onCommit);
    },
  }));
}

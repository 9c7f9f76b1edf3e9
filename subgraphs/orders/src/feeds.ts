import type { EventSubscription } from '@tributary/events';
import { copiesOf, type OwnerSettings } from './copies/copies.js';
import type { PlacementSettings } from './placement/placement-batch.js';
import { applyReplies, isReply } from './placement/replies.js';
import type { OrdersTables } from './storage/tables.js';

/** What this service takes from other services' event logs: what its copies show, and the answers to its sagas' commands. */
export function feedsOf(owners: OwnerSettings, settings: PlacementSettings): EventSubscription<OrdersTables>[] {
  const answer = applyReplies(settings);
  return copiesOf(owners).map(({ source, aggregateType, eventLog, apply }) => ({
    source,
    eventLog,
    filter: (event) => event.aggregateType === aggregateType || isReply(event),
    async apply(transaction, events, onCommit) {
      await apply(transaction, events);
      await answer(transaction, events, onCommit);
    },
  }));
}

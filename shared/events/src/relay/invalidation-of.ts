import type { LoggedEvent } from '@tributary/bus';
import type { Invalidation } from '@tributary/consistency';

/** The entities of the graph that an event of a service may have changed: `Type:id`. */
export type InvalidatedBy = (event: LoggedEvent) => readonly string[];

/** What an event touched. The deletion of personal data touches its aggregate, whatever else. @throws whatever `invalidatedBy` does */
export function invalidationOf(event: LoggedEvent, invalidatedBy: InvalidatedBy): Invalidation {
  const { position, data, aggregateType, aggregateId } = event;
  const entities = invalidatedBy(event);
  if (data.erased !== true) return { position, entities };
  return { position, entities: [...new Set([`${aggregateType}:${aggregateId}`, ...entities])], erased: true };
}

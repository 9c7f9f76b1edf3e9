import type { LedgerEvent } from '@tributary/bus';
import type { Touch } from '@tributary/consistency';

/** The entities of the graph that an event of a service may have changed: `Type:id`. */
export type TouchedBy = (event: LedgerEvent) => readonly string[];

/** What an event touched. The deletion of personal data touches its aggregate, whatever else. @throws whatever `touchedBy` does */
export function touchOf(event: LedgerEvent, touchedBy: TouchedBy): Touch {
  const { position, data, aggregateType, aggregateId } = event;
  const entities = touchedBy(event);
  if (data.erased !== true) return { position, entities };
  return { position, entities: [...new Set([`${aggregateType}:${aggregateId}`, ...entities])], erased: true };
}

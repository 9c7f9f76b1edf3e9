import type { EventBus, LoggedEvent } from '@tributary/bus';
import type { Invalidation, Invalidations } from '@tributary/consistency';
import { causeOf, type Fault } from '@tributary/server';
import { type InvalidatedBy, invalidationOf } from './invalidation-of.js';
import type { Lead } from './lead.js';

export interface InvalidationSenderOptions {
  readonly source: string;
  readonly bus: EventBus;
  readonly invalidatedBy: InvalidatedBy;
  readonly fault: Fault;
}

/**
 * Sends the invalidations of events that just got their positions, or that nothing happened; waits for nothing.
 *
 * An event whose invalidations cannot be computed is left out: listeners see a gap of positions, and discard what it may have changed.
 */
export function sendInvalidations(
  { source, bus, invalidatedBy, fault }: InvalidationSenderOptions,
  lead: Lead,
  events: readonly LoggedEvent[],
): void {
  let from = lead.invalidated;
  let touched: Invalidation[] = [];
  let failure: string | null = null;
  const send = (invalidations: Invalidations) => {
    try {
      bus.publishInvalidations(source, invalidations);
    } catch (error) {
      failure = causeOf(error);
    }
  };
  const to = events.at(-1)?.position ?? lead.invalidated;
  for (const event of events) {
    try {
      touched.push(invalidationOf(event, invalidatedBy));
    } catch (error) {
      failure = `${event.type} at position ${event.position}: ${causeOf(error)}`;
      const before = event.position - 1;
      if (before > from) send({ from, to: before, at: lead.invalidatedAt, term: lead.term, touched });
      from = event.position;
      touched = [];
    }
  }
  if (to >= lead.complete.position) lead.invalidatedAt = Math.max(lead.invalidatedAt, lead.complete.at);
  send({ from, to, at: lead.invalidatedAt, term: lead.term, touched });
  // Also when sending failed: the next message then shows the gap.
  lead.invalidated = to;
  if (failure !== null) fault.failed(failure);
  else if (events.length > 0) fault.worked();
}

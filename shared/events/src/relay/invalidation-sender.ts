import type { EventBus, LedgerEvent } from '@tributary/bus';
import type { Touch, Touches } from '@tributary/consistency';
import { causeOf, type Fault } from '@tributary/server';
import type { Lead } from './lead.js';
import { type TouchedBy, touchOf } from './touch-of.js';

export interface InvalidationSenderOptions {
  readonly source: string;
  readonly bus: EventBus;
  readonly touchedBy: TouchedBy;
  readonly fault: Fault;
}

/**
 * Sends the invalidations of events that just got their positions, or that nothing happened; waits for nothing.
 *
 * An event whose invalidations cannot be computed is left out: listeners see a gap of positions, and discard what it may have changed.
 */
export function sendInvalidations(
  { source, bus, touchedBy, fault }: InvalidationSenderOptions,
  lead: Lead,
  events: readonly LedgerEvent[],
): void {
  let from = lead.invalidated;
  let touched: Touch[] = [];
  let failure: string | null = null;
  const send = (touches: Touches) => {
    try {
      bus.tell(source, touches);
    } catch (error) {
      failure = causeOf(error);
    }
  };
  const to = events.at(-1)?.position ?? lead.invalidated;
  for (const event of events) {
    try {
      touched.push(touchOf(event, touchedBy));
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

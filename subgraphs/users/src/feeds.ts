import { type EventSubscription, eventLogClient } from '@tributary/events';
import { applyPaymentCommands, isPaymentCommand } from './payments.js';
import type { UsersTables } from './storage/tables.js';

/** The name under which this service's positions and dead letters are kept. */
export const CONSUMER = 'users';

/** What is needed to reach those whose events this service takes. */
export interface FeedSettings {
  readonly ORDERS_URL: string;
  readonly INTERNAL_SECRET?: string | undefined;
}

/** What this service takes from other services' event logs: the orders' payments. */
export function feedsOf({ ORDERS_URL, INTERNAL_SECRET }: FeedSettings): EventSubscription<UsersTables>[] {
  const eventLog = eventLogClient(ORDERS_URL, INTERNAL_SECRET);
  return [{ source: 'orders', eventLog, filter: isPaymentCommand, apply: applyPaymentCommands }];
}

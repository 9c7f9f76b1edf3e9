import { type EventSubscription, eventLogClient } from '@tributary/events';
import { applyStockCommands, isStockCommand } from './reservations.js';
import { copySales, isSale } from './sales-copy.js';
import type { ProductsTables } from './storage/tables.js';

/** The name under which this service's positions and dead letters are kept. */
export const CONSUMER = 'products';

/** What is needed to take other services' events. */
export interface FeedSettings {
  readonly ORDERS_URL: string;
  readonly INTERNAL_SECRET?: string | undefined;
  /** Milliseconds; a quarter of an hour unless given. */
  readonly RESERVATION_TTL?: number;
}

/** What this service takes from other services' event logs: the orders' reservations, and what they sold. */
export function feedsOf({
  ORDERS_URL,
  INTERNAL_SECRET,
  RESERVATION_TTL = 900_000,
}: FeedSettings): EventSubscription<ProductsTables>[] {
  return [
    {
      source: 'orders',
      eventLog: eventLogClient(ORDERS_URL, INTERNAL_SECRET),
      filter: (event) => isStockCommand(event) || isSale(event),
      async apply(transaction, events) {
        // Products are locked before their stock, as by every command.
        await copySales(transaction, events);
        await applyStockCommands(transaction, events, RESERVATION_TTL);
      },
    },
  ];
}

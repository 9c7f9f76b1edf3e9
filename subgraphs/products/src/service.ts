import { eventLogClient } from '@tributary/events';
import { openDatabase } from '@tributary/postgres';
import { type HttpService, repeat, settledWithin } from '@tributary/server';
import { buildFederatedSchema, type SubgraphConnection, type SubgraphParts } from '@tributary/subgraph';
import type { Logger } from 'pino';
import { CHECKS, STOCK_BY_ORDER } from './audit.js';
import { createContext, type ProductsContext } from './context.js';
import type { ProductsConfig } from './index.js';
import { invalidatedBy } from './product-events.js';
import { Products } from './products.js';
import { applyStockCommands, expireReservations, isStockCommand } from './reservations.js';
import { copySales, isSale } from './sales-copy.js';
import { ProductResolver, resolveProduct } from './schema/product-resolver.js';
import type { ProductsTables } from './storage/tables.js';

export { importCatalogue as importHistory } from './import.js';
export { migrations } from './storage/migrations.js';

const EXPIRY_INTERVAL_MS = 1000;
const EXPIRY_BATCH = 100;
/** The longest time that closing waits for an expiry in progress. */
const STOP_MS = 800;

export function createParts(
  config: ProductsConfig,
  { databaseUrl, logger }: SubgraphConnection,
): SubgraphParts<ProductsTables, ProductsContext> {
  const { ORDERS_URL, INTERNAL_SECRET, RESERVATION_TTL } = config;
  return {
    createSchema: (db) =>
      buildFederatedSchema<ProductsContext>({
        resolvers: [new ProductResolver(db)],
        references: { Product: (reference, context) => resolveProduct(context, reference) },
      }),
    createContext: async (db, request) => createContext(new Products(db), request),
    invalidatedBy,
    states: { Product: 'product_states', OrderStock: STOCK_BY_ORDER },
    checks: CHECKS,
    subscriptions: [
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
    ],
    start: (service) => releaseOverdueStock(service, databaseUrl, logger),
  };
}

/** Releases the stock of reservations that no event has ended in time. */
function releaseOverdueStock(service: HttpService, url: string, logger: Logger): void {
  const cut = new AbortController();
  const applicationName = 'tributary-products-expiry';
  const db = openDatabase<ProductsTables>({ url, applicationName, maxConnections: 1, signal: cut.signal });
  let stop: () => Promise<void> = async () => undefined;
  service.app.addHook('onListen', async () => {
    stop = repeat({
      name: 'release overdue stock',
      intervalMs: EXPIRY_INTERVAL_MS,
      run: async () => (await expireReservations(db, EXPIRY_BATCH)) === EXPIRY_BATCH,
      logger,
    });
  });
  service.onClose('reservations', async () => {
    await settledWithin(STOP_MS, [stop()]);
    // What still hangs is cut off.
    cut.abort();
    await db.destroy();
  });
}

import { consumeEvents, ownEventBus, publishEvents, type ServiceConsumers, type ServiceParts } from '@tributary/events';
import { openDatabase } from '@tributary/postgres';
import { type HttpService, repeat, settledWithin } from '@tributary/server';
import {
  buildFederatedSchema,
  createSubgraphService,
  type ServiceDefinition,
  type SetUpRequest,
  setUpDatabase,
} from '@tributary/subgraph';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { CHECKS, STOCK_BY_ORDER } from './audit.js';
import { readConfig } from './config.js';
import { createContext, type ProductsContext } from './context.js';
import { CONSUMER, feedsOf } from './feeds.js';
import { loadCatalogue } from './import.js';
import { invalidatedBy } from './product-events.js';
import { Products } from './products.js';
import { expireReservations } from './reservations.js';
import { ProductResolver, resolveProduct } from './schema/product-resolver.js';
import { migrations } from './storage/migrations.js';
import type { ProductsTables } from './storage/tables.js';

/** Prepares the products database: schema, and the catalogue of the history. */
export const setUpProducts = (request: SetUpRequest): Promise<boolean> =>
  setUpDatabase('products', migrations, loadCatalogue, request);

const EXPIRY_INTERVAL_MS = 1000;
const EXPIRY_BATCH = 100;
/** How long the end of the expiry waits for what is under way. */
const STOP_MS = 800;

/** The products service. It serves without orders' events; `caughtUp` and `inSyncOnce` tell how far it is with them. */
export interface ProductsService extends HttpService, ServiceConsumers {}

/** The products subgraph: catalogue and stock, on a database of its own. */
export async function createProductsService(
  config: ReturnType<typeof readConfig>,
  logger: Logger,
  { bus, onStatement }: ServiceParts = {},
): Promise<ProductsService> {
  const service = await createSubgraphService<ProductsTables, ProductsContext>({
    name: 'products',
    host: config.HOST,
    port: config.PRODUCTS_PORT,
    databaseUrl: config.PRODUCTS_DATABASE_URL,
    logger,
    onStatement,
    createSchema: createProductsSchema,
    createContext: async (db, request) => createContext(new Products(db), request),
  });
  const events = {
    name: CONSUMER,
    databaseUrl: config.PRODUCTS_DATABASE_URL,
    settings: config,
    bus: bus ?? ownEventBus(service, 'products', config, logger),
    logger,
    invalidatedBy,
  };
  publishEvents(service, events, { Product: 'product_states', OrderStock: STOCK_BY_ORDER }, CHECKS);
  const consumers = consumeEvents<ProductsTables>(service, feedsOf(config), [], events);
  releaseOverdueStock(service, config.PRODUCTS_DATABASE_URL, logger);
  return { ...service, ...consumers };
}

/** The schema of this subgraph. Nothing is asked of the database until a field is. */
export function createProductsSchema(db: Kysely<ProductsTables>) {
  return buildFederatedSchema<ProductsContext>({
    resolvers: [new ProductResolver(db)],
    references: { Product: (reference, context) => resolveProduct(context, reference) },
  });
}

/** An order that is never heard of again must not hold stock for ever. */
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

export const definition: ServiceDefinition = {
  name: 'products',
  port: 4002,
  setUp: setUpProducts,
  create: (env, logger, parts) => createProductsService(readConfig(env), logger, parts),
};

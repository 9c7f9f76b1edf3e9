import { ownEventBus, publishEvents, type ServiceParts } from '@tributary/shared/events/service-events';
import type { HttpService } from '@tributary/shared/http/http-service';
import { type SetUpRequest, setUpDatabase } from '@tributary/shared/service/set-up-database';
import { buildFederatedSchema } from '@tributary/shared/subgraph/schema';
import { createSubgraphService } from '@tributary/shared/subgraph/subgraph-service';
import type { Logger } from 'pino';
import type { readConfig } from './config.js';
import { createContext, type ProductsContext } from './context.js';
import { loadCatalogue } from './import.js';
import { Products } from './products.js';
import { findProduct, ProductResolver } from './schema/product-resolver.js';
import { migrations } from './storage/migrations.js';
import type { ProductsTables } from './storage/tables.js';

/** Prepares the products database: schema, and the catalogue of the history. */
export const setUpProducts = (request: SetUpRequest): Promise<boolean> =>
  setUpDatabase('products', migrations, loadCatalogue, request);

/** The products subgraph: catalogue and stock, on a database of its own. */
export async function createProductsService(
  config: ReturnType<typeof readConfig>,
  logger: Logger,
  { bus, onStatement }: ServiceParts = {},
): Promise<HttpService> {
  const service = await createSubgraphService<ProductsTables, ProductsContext>({
    name: 'products',
    host: config.HOST,
    port: config.PRODUCTS_PORT,
    databaseUrl: config.PRODUCTS_DATABASE_URL,
    logger,
    onStatement,
    createSchema: (db) =>
      buildFederatedSchema<ProductsContext>({
        resolvers: [new ProductResolver(db)],
        references: { Product: (reference, context) => findProduct(context, reference) },
      }),
    createContext: async (db, request) => createContext(new Products(db), request),
  });
  publishEvents(
    service,
    {
      name: 'products',
      databaseUrl: config.PRODUCTS_DATABASE_URL,
      settings: config,
      bus: bus ?? ownEventBus(service, 'products', config, logger),
      logger,
    },
    { Product: 'product_states' },
  );
  return service;
}

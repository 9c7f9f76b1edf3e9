import { consumeEvents, ownEventBus, type ServiceParts } from '@tributary/shared/events/service-events';
import type { HttpService } from '@tributary/shared/http/http-service';
import { openDatabase } from '@tributary/shared/postgres/database';
import { type SetUpRequest, setUpDatabase } from '@tributary/shared/service/set-up-database';
import { buildFederatedSchema } from '@tributary/shared/subgraph/schema';
import { createSubgraphService } from '@tributary/shared/subgraph/subgraph-service';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import type { readConfig } from './config.js';
import { createContext, type OrdersContext } from './context.js';
import { CONSUMER, copiesOf } from './copies/copies.js';
import { loadOrders } from './import.js';
import { OrderEventStore } from './order/event-store.js';
import { Orders } from './orders.js';
import { rebuild } from './projections/order-projection.js';
import { findOrder, OrderResolver } from './schema/order-resolver.js';
import { Product, User } from './schema/order-types.js';
import { ProductResolver } from './schema/product-resolver.js';
import { UserResolver } from './schema/user-resolver.js';
import { migrations } from './storage/migrations.js';
import type { OrdersTables } from './storage/tables.js';

/** Prepares the orders database: schema, and the orders of the history. */
export const setUpOrders = (request: SetUpRequest): Promise<boolean> =>
  setUpDatabase('orders', migrations, loadOrders, request);

/** Makes the read models anew from the events. @returns how many events were replayed */
export async function rebuildReadModels(databaseUrl: string): Promise<number> {
  const db = openDatabase<OrdersTables>({
    url: databaseUrl,
    applicationName: 'tributary-orders-rebuild',
    maxConnections: 1,
    statementTimeoutMs: 0,
  });
  try {
    return await rebuild(db);
  } finally {
    await db.destroy();
  }
}

/** The orders service: ready when its copies have first been level with their owners. */
export interface OrdersService extends HttpService {
  readonly caughtUp: Promise<unknown>;
}

/** The orders subgraph: event-sourced orders, read models and copies, on a database of its own. */
export async function createOrdersService(
  config: ReturnType<typeof readConfig>,
  logger: Logger,
  { bus, onStatement }: ServiceParts = {},
): Promise<OrdersService> {
  let caughtUp = false;
  const service = await createSubgraphService<OrdersTables, OrdersContext>({
    name: 'orders',
    host: config.HOST,
    port: config.ORDERS_PORT,
    databaseUrl: config.ORDERS_DATABASE_URL,
    logger,
    onStatement,
    createSchema: createOrdersSchema,
    createContext: async (db) => createContext(new Orders(db), new OrderEventStore(db)),
    notReady: () => (caughtUp ? null : 'the copies of users and products are being brought up to date'),
  });
  const consumers = consumeEvents<OrdersTables>(service, copiesOf(config), {
    name: CONSUMER,
    databaseUrl: config.ORDERS_DATABASE_URL,
    settings: config,
    bus: bus ?? ownEventBus(service, 'orders', config, logger),
    logger,
  });
  consumers.caughtUp.then(() => {
    caughtUp = true;
  });
  return { ...service, caughtUp: consumers.caughtUp };
}

function createOrdersSchema(db: Kysely<OrdersTables>) {
  return buildFederatedSchema<OrdersContext>({
    resolvers: [new OrderResolver(new Orders(db), new OrderEventStore(db)), new UserResolver(), new ProductResolver()],
    orphanedTypes: [User, Product],
    references: {
      Order: (reference, context) => findOrder(context, reference),
      // Any id is answered: who never ordered has figures too, all zero.
      User: ({ id }) => ({ id }),
      Product: ({ id }) => ({ id }),
    },
  });
}

import { consumeEvents, ownEventBus, publishEvents, type ServiceConsumers, type ServiceParts } from '@tributary/events';
import { listenToNotifications, openDatabase } from '@tributary/postgres';
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
import { Registry } from 'prom-client';
import { audit } from './audit.js';
import { readConfig } from './config.js';
import { createContext, type OrdersContext } from './context.js';
import { CONSUMER, copiesOf } from './copies/copies.js';
import { OwnerLookup } from './copies/owner-lookup.js';
import { feedsOf } from './feeds.js';
import { loadOrders } from './import.js';
import { OrderEventStore } from './order/event-store.js';
import { Orders } from './orders.js';
import { ORDERS_CHANNEL, OrderWaiters } from './placement/order-waiters.js';
import { moveOverdueSagas } from './placement/overdue.js';
import { Placement } from './placement/placement.js';
import type { PlacementSettings } from './placement/placement-batch.js';
import { PlacementMetrics } from './placement/placement-metrics.js';
import { SagaStore } from './placement/saga-store.js';
import { rebuild } from './projections/rebuild.js';
import { invalidatedBy } from './publication.js';
import { findOrder, OrderResolver } from './schema/order-resolver.js';
import { Product, User } from './schema/order-types.js';
import { PlacementResolver } from './schema/placement-resolver.js';
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
    // One of them holds the lock.
    maxConnections: 2,
    statementTimeoutMs: 0,
  });
  try {
    return await rebuild(db);
  } finally {
    await db.destroy();
  }
}

/** The orders service: ready when its copies were in sync with their owners once, in this process or in an earlier one. */
export interface OrdersService extends HttpService, ServiceConsumers {}

type OrdersConfig = ReturnType<typeof readConfig>;

/** How often sagas that wait for an answer are looked at. */
const OVERDUE_INTERVAL_MS = 250;
/** How long the end of the sagas waits for what is under way. */
const STOP_MS = 800;

/** The orders subgraph: event-sourced orders, sagas, read models and copies, on a database of its own. */
export async function createOrdersService(
  config: OrdersConfig,
  logger: Logger,
  { bus, onStatement }: ServiceParts = {},
): Promise<OrdersService> {
  const waiters = new OrderWaiters();
  // The schema is wanted before the service is there that counts.
  const metrics = new Registry();
  const cut = new AbortController();
  const background = openDatabase<OrdersTables>({
    url: config.ORDERS_DATABASE_URL,
    applicationName: 'tributary-orders-sagas',
    maxConnections: 2,
    signal: cut.signal,
  });
  const settings: PlacementSettings = {
    policy: { stepTimeoutMs: config.SAGA_STEP_TIMEOUT },
    metrics: new PlacementMetrics(metrics, background, config.SAGA_STUCK_AFTER),
  };
  const service = await createSubgraphService<OrdersTables, OrdersContext>({
    name: 'orders',
    host: config.HOST,
    port: config.ORDERS_PORT,
    databaseUrl: config.ORDERS_DATABASE_URL,
    logger,
    onStatement,
    metrics,
    createSchema: (db) => {
      const owners = new OwnerLookup(db, copiesOf(config), logger);
      return createOrdersSchema(db, new Placement(db, settings, waiters, owners));
    },
    createContext: async (db, request) =>
      createContext(new Orders(db), new OrderEventStore(db), new SagaStore(db), request),
  });
  const events = {
    name: CONSUMER,
    databaseUrl: config.ORDERS_DATABASE_URL,
    settings: config,
    bus: bus ?? ownEventBus(service, 'orders', config, logger),
    logger,
    invalidatedBy,
  };
  publishEvents(service, events, {});
  const copies = copiesOf(config);
  const consumers = consumeEvents<OrdersTables>(service, feedsOf(config, settings), copies, events, (db, stopped) =>
    audit(db, copies, stopped),
  );
  const stopSagas = runSagas(service, config, background, settings, waiters, logger);
  service.onClose('sagas', async () => {
    await settledWithin(STOP_MS, [stopSagas()]);
    // What still hangs is cut off.
    cut.abort();
    await background.destroy();
  });
  return { ...service, ...consumers };
}

/** Moves overdue sagas on, and tells waiting requests of orders that were settled, here or in another process. @returns how to stop */
function runSagas(
  service: HttpService,
  config: OrdersConfig,
  db: Kysely<OrdersTables>,
  settings: PlacementSettings,
  waiters: OrderWaiters,
  logger: Logger,
): () => Promise<unknown> {
  const stops: (() => Promise<void>)[] = [];
  service.app.addHook('onListen', async () => {
    stops.push(
      listenToNotifications({
        url: config.ORDERS_DATABASE_URL,
        applicationName: 'tributary-orders-waiters',
        channel: ORDERS_CHANNEL,
        onPayload: (payload) => waiters.hear(payload),
        onListening: () => waiters.tellAll(),
      }),
      repeat({
        name: 'move overdue sagas on',
        intervalMs: OVERDUE_INTERVAL_MS,
        run: () => moveOverdueSagas(db, settings, logger),
        logger,
      }),
    );
  });
  return () => Promise.all(stops.map((stop) => stop()));
}

/** The schema of this subgraph. Nothing is asked of the database until a field is. */
export function createOrdersSchema(db: Kysely<OrdersTables>, placement: Placement) {
  return buildFederatedSchema<OrdersContext>({
    resolvers: [
      new OrderResolver(new Orders(db), new OrderEventStore(db)),
      new PlacementResolver(placement, new Orders(db)),
      new UserResolver(),
      new ProductResolver(),
    ],
    orphanedTypes: [User, Product],
    references: {
      Order: (reference, context) => findOrder(context, reference),
      // Any id is answered: a user who never ordered has statistics too, all zero.
      User: entityOf,
      Product: entityOf,
    },
  });
}

const entityOf = ({ id }: Readonly<Record<string, unknown>>) => (typeof id === 'string' ? { id } : null);

export const definition: ServiceDefinition = {
  name: 'orders',
  port: 4003,
  setUp: setUpOrders,
  create: (env, logger, parts) => createOrdersService(readConfig(env), logger, parts),
};

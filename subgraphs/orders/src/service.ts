import { listenToNotifications, openDatabase } from '@tributary/postgres';
import { type HttpService, repeat, settledWithin } from '@tributary/server';
import { buildFederatedSchema, type SubgraphConnection, type SubgraphParts } from '@tributary/subgraph';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { Registry } from 'prom-client';
import { audit } from './audit.js';
import { createContext, type OrdersContext } from './context.js';
import { copiesOf } from './copies/copies.js';
import { OwnerLookup } from './copies/owner-lookup.js';
import type { OrdersConfig } from './index.js';
import { OrderEventStore } from './order/event-store.js';
import { Orders } from './orders.js';
import { OrdersAdmin } from './orders-admin.js';
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
import type { OrdersTables } from './storage/tables.js';
import { subscriptionsOf } from './subscriptions.js';

export { deriveMissingData as deriveData } from './derived-data.js';
export { importOrders as importHistory } from './import.js';
export { migrations } from './storage/migrations.js';

/** Rebuilds the read models from the events. @returns how many events were replayed */
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

/** How often sagas that wait for an answer are looked at. */
const OVERDUE_INTERVAL_MS = 250;
/** How long the end of the sagas waits for running work. */
const STOP_MS = 800;

export function createParts(
  config: OrdersConfig,
  { databaseUrl, logger }: SubgraphConnection,
): SubgraphParts<OrdersTables, OrdersContext> {
  const waiters = new OrderWaiters();
  const metrics = new Registry();
  const cut = new AbortController();
  const background = openDatabase<OrdersTables>({
    url: databaseUrl,
    applicationName: 'tributary-orders-sagas',
    maxConnections: 2,
    signal: cut.signal,
  });
  const settings: PlacementSettings = {
    policy: { stepTimeoutMs: config.SAGA_STEP_TIMEOUT },
    metrics: new PlacementMetrics(metrics, background, config.SAGA_STUCK_AFTER),
  };
  const copies = copiesOf(config);
  return {
    metrics,
    createSchema: (db) =>
      createOrdersSchema(db, new Placement(db, settings, waiters, new OwnerLookup(db, copies, logger))),
    createContext: async (db, request) =>
      createContext(new Orders(db), new OrderEventStore(db), new SagaStore(db), request),
    invalidatedBy,
    subscriptions: subscriptionsOf(copies, settings),
    copies,
    audit: (db, stopped) => audit(db, copies, stopped),
    start(service) {
      const stopSagas = runSagas(service, databaseUrl, background, settings, waiters, logger);
      service.onClose('sagas', async () => {
        await settledWithin(STOP_MS, [stopSagas()]);
        // What still hangs is cut off.
        cut.abort();
        await background.destroy();
      });
    },
  };
}

export const createAdmin = (databaseUrl: string, config: OrdersConfig) =>
  new OrdersAdmin(databaseUrl, copiesOf(config));

/** Advances overdue sagas, and wakes requests whose orders were settled, in this process or another. @returns how to stop */
function runSagas(
  service: HttpService,
  databaseUrl: string,
  db: Kysely<OrdersTables>,
  settings: PlacementSettings,
  waiters: OrderWaiters,
  logger: Logger,
): () => Promise<unknown> {
  const stops: (() => Promise<void>)[] = [];
  service.app.addHook('onListen', async () => {
    stops.push(
      listenToNotifications({
        url: databaseUrl,
        applicationName: 'tributary-orders-waiters',
        channel: ORDERS_CHANNEL,
        onPayload: (payload) => waiters.onNotification(payload),
        onListening: () => waiters.recheckAll(),
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

function createOrdersSchema(db: Kysely<OrdersTables>, placement: Placement) {
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

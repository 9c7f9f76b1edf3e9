import { type EventBus, InProcessBus } from '@tributary/bus';
import { freePort } from '@tributary/cli';
import { createGateway, type Gateway, readConfig as readGatewayConfig } from '@tributary/gateway';
import { definition as orderService } from '@tributary/orders';
import { definition as productService } from '@tributary/products';
import type { HttpService } from '@tributary/server';
import { definition as userService } from '@tributary/users';
import type { CompiledQuery } from 'kysely';
import { type Logger, pino } from 'pino';
import { cloneDatabases, type TestDatabases } from './databases.ts';
import { ask, type GraphQLAnswer } from './graphql-client.ts';

export const TOKEN_SECRET = 'a secret for tests, at least 32 characters long';

type ServiceName = 'users' | 'products' | 'orders';

/** The whole graph, in this process, on databases of its own. */
export interface TestGraph {
  readonly databases: TestDatabases;
  readonly gateway: Gateway;
  readonly services: Readonly<Record<ServiceName, HttpService>>;
  readonly urls: Readonly<Record<ServiceName | 'gateway', string>>;
  /** Every SQL statement of a service since the last `statements[service].length = 0`. */
  readonly statements: Readonly<Record<ServiceName, CompiledQuery[]>>;
  ask(query: string, variables?: Record<string, unknown>, headers?: Record<string, string>): Promise<GraphQLAnswer>;
  stop(): Promise<void>;
}

const silent = pino({ level: 'silent' });

export interface GraphOptions {
  /** Clones of the imported ones unless given; dropped when the graph stops. */
  readonly databases?: TestDatabases;
  /** What carries the events; in this process unless given. */
  readonly bus?: EventBus;
  /** Where the gateway and the services log; nowhere unless given. */
  readonly logger?: Logger;
  readonly gatewayEnv?: NodeJS.ProcessEnv;
  readonly usersEnv?: NodeJS.ProcessEnv;
  readonly productsEnv?: NodeJS.ProcessEnv;
  readonly ordersEnv?: NodeJS.ProcessEnv;
}

/** Starts it on free ports, and waits until the copies are level. */
export async function startGraph({
  databases: givenDatabases,
  bus: givenBus,
  logger = silent,
  gatewayEnv = {},
  usersEnv = {},
  productsEnv = {},
  ordersEnv = {},
}: GraphOptions = {}): Promise<TestGraph> {
  const databases = givenDatabases ?? (await cloneDatabases());
  const statements: TestGraph['statements'] = { users: [], products: [], orders: [] };
  const record = (service: ServiceName) => (query: CompiledQuery) => statements[service].push(query);
  const bus = givenBus ?? new InProcessBus();
  // The other services need the URL of orders before it starts.
  const ordersPort = await freePort();
  const ORDERS_URL = `http://localhost:${ordersPort}`;
  const usersService = await userService.create(
    {
      USERS_PORT: '0',
      USERS_DATABASE_URL: databases.urls.users,
      AUTH_SECRET: TOKEN_SECRET,
      ORDERS_URL,
      ...usersEnv,
    },
    logger,
    { bus, onStatement: record('users') },
  );
  const productsService = await productService.create(
    {
      PRODUCTS_PORT: '0',
      PRODUCTS_DATABASE_URL: databases.urls.products,
      ORDERS_URL,
      ...productsEnv,
    },
    logger,
    { bus, onStatement: record('products') },
  );
  const users = await usersService.listen();
  const products = await productsService.listen();
  const ordersService = await orderService.create(
    {
      ORDERS_PORT: String(ordersPort),
      ORDERS_DATABASE_URL: databases.urls.orders,
      USERS_URL: users,
      PRODUCTS_URL: products,
      ...ordersEnv,
    },
    logger,
    { bus, onStatement: record('orders') },
  );
  const orders = await ordersService.listen();
  await Promise.all([usersService.caughtUp, productsService.caughtUp, ordersService.caughtUp]);
  const services = { users: usersService, products: productsService, orders: ordersService };
  const gateway = await createGateway(
    readGatewayConfig({
      GATEWAY_PORT: '0',
      SUBGRAPHS: `users=${users}/graphql,products=${products}/graphql,orders=${orders}/graphql`,
      SUPERGRAPH_POLL_INTERVAL: '200ms',
      ...gatewayEnv,
    }),
    logger,
    { bus },
  );
  const url = await gateway.listen();
  await gateway.ready;
  return {
    databases,
    gateway,
    services,
    urls: { users, products, orders, gateway: url },
    statements,
    ask: (query, variables, headers) => ask(url, query, variables, headers),
    async stop() {
      await gateway.close();
      await Promise.all(Object.values(services).map((service) => service.close()));
      await bus.close();
      await databases.drop();
    },
  };
}

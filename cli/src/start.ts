import { createServer } from 'node:net';
import { readConfig as readGatewayConfig } from '@tributary/gateway/config';
import { createGateway } from '@tributary/gateway/gateway';
import { readConfig as readOrdersConfig } from '@tributary/orders/config';
import { createOrdersService } from '@tributary/orders/service';
import { readConfig as readProductsConfig } from '@tributary/products/config';
import { createProductsService } from '@tributary/products/service';
import { InProcessBus } from '@tributary/shared/events/in-process-bus';
import type { HttpService } from '@tributary/shared/http/http-service';
import { SAMPLE_QUERY } from '@tributary/shared/superstore/sample-query';
import { readConfig as readUsersConfig } from '@tributary/users/config';
import { createUsersService } from '@tributary/users/service';
import { type Logger, pino } from 'pino';
import pretty from 'pino-pretty';
import { freePort } from './free-port.js';
import { type LocalData, type LocalDataOptions, since, startLocalData } from './local-stack.js';
import { aborted, listenForStop, unlessStopped } from './stop-signal.js';
import { UserError } from './user-error.js';

export interface StartOptions extends LocalDataOptions {
  readonly gatewayPort: number;
  readonly usersPort: number;
  readonly productsPort: number;
  readonly ordersPort: number;
  readonly logLevel: string;
}

/** A stack that runs: every part in this process, PostgreSQL beside it. */
export interface LocalStack {
  readonly urls: Readonly<Record<'gateway' | 'users' | 'products' | 'orders', string>>;
  /** Resolves when the database server ends, asked to or not. */
  readonly databaseEnded: Promise<void>;
  /** Drains the gateway, then the services, then stops PostgreSQL. */
  stop(): Promise<void>;
}

/**
 * Starts the whole graph in this process.
 *
 * @param say told each step, in words for a person
 * @param stopped cuts the start short
 * @throws UserError for what a person can put right; then, and when cut short, nothing is left running
 */
export async function startLocalStack(
  options: StartOptions,
  say: (line: string) => void,
  stopped: AbortSignal,
): Promise<LocalStack> {
  await refusePortsInUse(options);
  const data = await startLocalData(options, say, stopped);
  const services: HttpService[] = [];
  const stop = async () => {
    for (const service of services.reverse()) await service.close();
    await data.stop();
  };
  try {
    const urls = await startServices(options, data, services, stopped);
    return { urls, databaseEnded: data.ended, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startServices(options: StartOptions, data: LocalData, started: HttpService[], stopped: AbortSignal) {
  const logger = createLocalLogger(options.logLevel);
  const listen = async (service: HttpService) => {
    started.push(service);
    return service.listen();
  };
  const bus = new InProcessBus();
  // The others want to know where orders will be before it is there.
  const ordersPort = options.ordersPort || (await freePort());
  const events = { ORDERS_URL: `http://localhost:${ordersPort}`, INTERNAL_SECRET: data.internalSecret };
  const usersService = await createUsersService(
    readUsersConfig({
      USERS_PORT: String(options.usersPort),
      USERS_DATABASE_URL: data.databaseUrls.users,
      AUTH_SECRET: data.tokenSecret,
      ...events,
    }),
    logger.child({ name: 'users' }),
    { bus },
  );
  const users = await listen(usersService);
  const productsService = await createProductsService(
    readProductsConfig({
      PRODUCTS_PORT: String(options.productsPort),
      PRODUCTS_DATABASE_URL: data.databaseUrls.products,
      ...events,
    }),
    logger.child({ name: 'products' }),
    { bus },
  );
  const products = await listen(productsService);
  const ordersService = await createOrdersService(
    readOrdersConfig({
      ORDERS_PORT: String(ordersPort),
      ORDERS_DATABASE_URL: data.databaseUrls.orders,
      USERS_URL: users,
      PRODUCTS_URL: products,
      ...events,
    }),
    logger.child({ name: 'orders' }),
    { bus },
  );
  const orders = await listen(ordersService);
  const gateway = await createGateway(
    readGatewayConfig({
      ...process.env,
      SUPERGRAPH_PATH: '',
      GATEWAY_PORT: String(options.gatewayPort),
      SUBGRAPHS: `users=${users}/graphql,products=${products}/graphql,orders=${orders}/graphql`,
    }),
    logger.child({ name: 'gateway' }),
    bus,
  );
  const url = await listen(gateway);
  const caughtUp = [usersService, productsService, ordersService].map((service) => service.caughtUp);
  await Promise.race([Promise.all([gateway.ready, ...caughtUp]), aborted(stopped)]);
  stopped.throwIfAborted();
  data.noteUrls({ users, products, orders });
  return { gateway: url, users, products, orders };
}

function createLocalLogger(level: string): Logger {
  if (!process.stderr.isTTY) return pino({ level }, pino.destination(2));
  return pino({ level }, pretty({ destination: 2, ignore: 'pid,hostname', sync: true }));
}

/** Better to know before PostgreSQL starts and data is imported. */
async function refusePortsInUse(options: StartOptions): Promise<void> {
  for (const service of ['gateway', 'users', 'products', 'orders'] as const) {
    const port = options[`${service}Port`];
    if (port !== 0 && (await portInUse(port))) {
      throw new UserError(
        `Port ${port} (${service}) is in use. Stop what uses it, or choose another with --${service}-port.`,
      );
    }
  }
}

function portInUse(port: number): Promise<boolean> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EADDRINUSE'));
    probe.listen({ port, host: 'localhost' }, () => probe.close(() => resolve(false)));
  });
}

/** Starts the stack, says where it is, and runs until it is told to stop. */
export async function runStart(options: StartOptions): Promise<void> {
  const startedAt = performance.now();
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const stopped = listenForStop();
  const stack = await unlessStopped(stopped, startLocalStack(options, say, stopped));
  if (!stack) {
    say('\nStopped.');
    process.exit(0);
  }
  say(welcome(stack, since(startedAt)));

  await Promise.race([aborted(stopped), stack.databaseEnded]);
  const lostDatabase = !stopped.aborted;
  if (lostDatabase) process.stderr.write('PostgreSQL ended; see postgres.log in the data folder.\n');
  else say('\nStopping …');
  await stack.stop();
  say('Stopped.');
  process.exit(lostDatabase ? 1 : 0);
}

function welcome({ urls }: LocalStack, took: string): string {
  return `
Tributary is ready (${took}).

  Graph     ${urls.gateway}/graphql
  Explore   ${urls.gateway}  (Apollo Sandbox)   ${urls.gateway}/graphiql  (GraphiQL, works offline)
  Services  users ${urls.users}   products ${urls.products}   orders ${urls.orders}
  Health    /health/ready and /metrics on each of them

Try:

  curl ${urls.gateway}/graphql -H 'content-type: application/json' \\
    -d '${JSON.stringify({ query: SAMPLE_QUERY.replace(/\s+/g, ' ').trim() }).replaceAll("'", "'\\''")}'

Ctrl-C stops everything.`;
}

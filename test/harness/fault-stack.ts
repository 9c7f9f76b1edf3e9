import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@tributary/cli/free-port';
import { EmbeddedPostgres } from '@tributary/cli/postgres/embedded-postgres';
import { createServiceDatabases } from '@tributary/cli/postgres/service-databases';
import { setUpOrders } from '@tributary/orders/service';
import { setUpProducts } from '@tributary/products/service';
import { readSuperstore } from '@tributary/shared/superstore/superstore';
import { setUpUsers } from '@tributary/users/service';
import pg from 'pg';
import { SERVICES, type ServiceName } from './databases.ts';
import { startNats } from './nats.ts';
import { type RunningProgram, runProgram } from './process.ts';
import { until } from './until.ts';

const PASSWORD = 'tests-only';

/** Something that runs and can be hurt: a process of ours, or a server. */
export interface Part {
  readonly name: string;
  /** Resolves when it answers. */
  start(): Promise<void>;
  /** kill -9; `loseMemory` takes what it keeps on disk, where that is allowed to be lost. */
  kill(loseMemory?: boolean): Promise<void>;
  /** SIGSTOP, to all of its processes. */
  pause(): void;
  resume(): void;
}

/**
 * The whole stack, every part a process of its own: a PostgreSQL server per service, NATS, users, products, and two each of
 * orders and of the gateway. Holds a small part of the history.
 */
export interface FaultStack {
  readonly parts: readonly Part[];
  /** Either of the gateways. */
  readonly gateways: readonly string[];
  readonly urls: Readonly<Record<ServiceName, string>>;
  readonly databaseUrls: Readonly<Record<ServiceName, string>>;
  /** Lets one read the services' ledgers, where they want it. */
  readonly internalSecret?: string | undefined;
  query<Row>(service: ServiceName, sql: string, values?: unknown[]): Promise<Row[]>;
  stop(): Promise<void>;
}

/** Starts it; `scale` is how much of the history it holds. */
export async function startFaultStack(scale: number): Promise<FaultStack> {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-faults-'));
  const databases = await Promise.all(SERVICES.map((name) => startDatabase(name, join(folder, name))));
  const urls = Object.fromEntries(databases.map(({ service, url }) => [service, url])) as FaultStack['databaseUrls'];
  const history = readSuperstore(scale);
  const request = { scale, readHistory: () => history };
  await Promise.all([
    setUpUsers({ ...request, databaseUrl: urls.users }),
    setUpProducts({ ...request, databaseUrl: urls.products }),
    setUpOrders({ ...request, databaseUrl: urls.orders }),
  ]);
  const nats = await startNats();

  const names = ['users', 'products', 'ordersA', 'ordersB', 'gatewayA', 'gatewayB'] as const;
  const ports = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await freePort()])));
  const at = (name: (typeof names)[number]) => `http://localhost:${ports[name]}`;
  const common = {
    NATS_URL: nats.url,
    LOG_LEVEL: 'error',
    EVENT_POLL_INTERVAL: '500ms',
    USERS_URL: at('users'),
    PRODUCTS_URL: at('products'),
    ORDERS_URL: at('ordersA'),
  };
  const service = (name: (typeof names)[number], owner: ServiceName): Part => {
    const env = { [`${owner.toUpperCase()}_PORT`]: ports[name], [`${owner.toUpperCase()}_DATABASE_URL`]: urls[owner] };
    return programPart(name, `subgraphs/${owner}/dist/main.js`, { ...common, ...env }, at(name));
  };
  const gateway = (name: 'gatewayA' | 'gatewayB', orders: 'ordersA' | 'ordersB'): Part => {
    const subgraphs = { users: at('users'), products: at('products'), orders: at(orders) };
    const SUBGRAPHS = Object.entries(subgraphs)
      .map(([subgraph, url]) => `${subgraph}=${url}/graphql`)
      .join();
    return programPart(name, 'gateway/dist/main.js', { PORT: ports[name], LOG_LEVEL: 'error', SUBGRAPHS }, at(name));
  };
  const programs = [
    service('users', 'users'),
    service('products', 'products'),
    service('ordersA', 'orders'),
    service('ordersB', 'orders'),
    gateway('gatewayA', 'ordersA'),
    gateway('gatewayB', 'ordersB'),
  ];
  await Promise.all(programs.map((program) => program.start()));
  const parts: Part[] = [
    ...programs,
    ...databases,
    {
      name: 'nats',
      start: () => nats.start(),
      async kill(loseMemory) {
        await nats.kill();
        if (loseMemory) nats.loseDisk();
      },
      pause: () => signalTree(nats.pid, 'SIGSTOP'),
      resume: () => signalTree(nats.pid, 'SIGCONT'),
    },
  ];
  return {
    parts,
    gateways: [at('gatewayA'), at('gatewayB')],
    urls: { users: at('users'), products: at('products'), orders: at('ordersA') },
    databaseUrls: urls,
    async query<Row>(owner: ServiceName, sql: string, values: unknown[] = []) {
      const client = new pg.Client({ connectionString: urls[owner], query_timeout: 30_000 });
      client.on('error', () => undefined);
      await client.connect();
      try {
        return (await client.query(sql, values)).rows as Row[];
      } finally {
        await client.end();
      }
    },
    async stop() {
      for (const part of parts) part.resume();
      await Promise.all(programs.map((program) => program.kill()));
      await Promise.all(databases.map((database) => database.kill()));
      await nats.remove();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function startDatabase(
  service: ServiceName,
  dataFolder: string,
): Promise<Part & { service: ServiceName; url: string }> {
  const launch = (port: number) => EmbeddedPostgres.start({ dataFolder, port, password: PASSWORD });
  let server = await launch(0);
  const { port } = server;
  const passwords = { users: PASSWORD, products: PASSWORD, orders: PASSWORD };
  const urls = await createServiceDatabases(server, passwords);
  return {
    service,
    url: urls[service],
    name: `${service}-db`,
    async start() {
      // What is left of a killed server needs a moment to end.
      server = await until(
        () => launch(port).catch(() => null),
        (started) => started !== null,
        60_000,
      ).then((started) => started as EmbeddedPostgres);
    },
    async kill() {
      process.kill(server.pid, 'SIGKILL');
      await server.ended;
    },
    pause: () => signalTree(server.pid, 'SIGSTOP'),
    resume: () => signalTree(server.pid, 'SIGCONT'),
  };
}

function programPart(name: string, entry: string, env: NodeJS.ProcessEnv, url: string): Part {
  let running: RunningProgram | undefined;
  return {
    name,
    async start() {
      const started = runProgram(entry, [], env);
      running = started;
      await until(
        async () => {
          const ready = fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(2000) });
          return ready.then(
            ({ status }) => status,
            () => 0,
          );
        },
        (status) => status === 200,
        120_000,
      ).catch((error) => {
        throw new Error(`${name} did not become ready: ${error.message}\n${started.output()}`);
      });
    },
    async kill() {
      running?.kill('SIGKILL');
      await running?.ended;
    },
    pause: () => running?.kill('SIGSTOP'),
    resume: () => running?.kill('SIGCONT'),
  };
}

/** A server that has processes of its own is stopped with them. */
function signalTree(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return;
  for (const each of [pid, ...childrenOf(pid)]) {
    try {
      process.kill(each, signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
}

function childrenOf(pid: number): number[] {
  try {
    const list =
      process.platform === 'linux'
        ? readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
        : execFileSync('pgrep', ['-P', String(pid)], { encoding: 'utf8' });
    return list.split(/\s+/).filter(Boolean).map(Number);
  } catch {
    // It has ended, or has none.
    return [];
  }
}

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServiceDatabases, EmbeddedPostgres } from '@tributary/cli';
import { definition as orders } from '@tributary/orders';
import { definition as products } from '@tributary/products';
import { readSuperstore } from '@tributary/superstore';
import { definition as users } from '@tributary/users';
import pg from 'pg';
import { SERVICES, type ServiceName } from './databases.ts';
import { startNats, type TestNats } from './nats.ts';
import { restartablePort } from './ports.ts';
import { type RunningProgram, runProgram } from './process.ts';
import { haveRedis, startRedis, type TestRedis } from './redis.ts';
import { startTcpProxy, type TcpProxy, through } from './tcp-proxy.ts';
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

const PROGRAMS = ['users', 'products', 'ordersA', 'ordersB', 'gatewayA', 'gatewayB'] as const;
export type ProgramName = (typeof PROGRAMS)[number];

/** A process of ours. */
export interface Program extends Part {
  readonly name: ProgramName;
  /** What it is one of: a service, or `gateway`. */
  readonly role: ServiceName | 'gateway';
  readonly url: string;
  /** Carries its connections to its database; null: it has none. */
  readonly databaseProxy: TcpProxy | null;
  /** Carries its connection to NATS. */
  readonly natsProxy: TcpProxy;
  /** Starts it without waiting until it answers. @param release the folder of another build; by default this one */
  launch(release?: string): void;
  /** All that it logged at `warn` and above, since the stack started. */
  output(): string;
}

/**
 * The whole stack, every part a process of its own: a PostgreSQL server per service, NATS, Redis (where it is installed), users,
 * products, and two each of orders and of the gateway. Holds a small part of the history.
 */
export interface FaultStack {
  /** For files; it goes with the stack. */
  readonly folder: string;
  readonly parts: readonly Part[];
  readonly programs: Readonly<Record<ProgramName, Program>>;
  readonly databases: readonly Part[];
  readonly nats: TestNats;
  /** What the gateways share; null where it is not installed. */
  readonly redis: TestRedis | null;
  /** Either of the gateways. */
  readonly gateways: readonly string[];
  readonly urls: Readonly<Record<ServiceName, string>>;
  readonly databaseUrls: Readonly<Record<ServiceName, string>>;
  /** The secret that the services require for their event logs, if any. */
  readonly internalSecret?: string | undefined;
  query<Row>(service: ServiceName, sql: string, values?: unknown[]): Promise<Row[]>;
  stop(): Promise<void>;
}

/** Starts it; `scale` is how much of the history it holds. */
export async function startFaultStack(scale: number): Promise<FaultStack> {
  // What is undone, last first.
  const stops: (() => unknown)[] = [];
  const stop = async () => {
    for (const each of stops.reverse()) await each();
  };
  try {
    return { ...(await startParts(scale, stops)), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startParts(scale: number, stops: (() => unknown)[]): Promise<Omit<FaultStack, 'stop'>> {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-faults-'));
  stops.push(() => rmSync(folder, { recursive: true, force: true }));
  const databases = await Promise.all(SERVICES.map((name) => startDatabase(name, join(folder, name))));
  for (const database of databases) {
    stops.push(() => {
      database.resume();
      return database.kill();
    });
  }
  const urls = Object.fromEntries(databases.map(({ service, url }) => [service, url])) as FaultStack['databaseUrls'];
  const history = readSuperstore(scale);
  const request = { scale, readHistory: () => history };
  await Promise.all([
    users.setUp({ ...request, databaseUrl: urls.users }),
    products.setUp({ ...request, databaseUrl: urls.products }),
    orders.setUp({ ...request, databaseUrl: urls.orders }),
  ]);
  const nats = await startNats();
  stops.push(() => nats.remove());
  const redis = haveRedis() ? await startRedis() : null;
  if (redis) stops.push(() => redis.kill());

  const ports = Object.fromEntries(await Promise.all(PROGRAMS.map(async (name) => [name, await restartablePort()])));
  const at = (name: ProgramName) => `http://localhost:${ports[name]}`;
  const proxyTo = async (url: string) => {
    const { hostname, port } = new URL(url);
    const proxy = await startTcpProxy(hostname, Number(port));
    stops.push(() => proxy.close());
    return proxy;
  };
  const common = async () => {
    const natsProxy = await proxyTo(nats.url);
    return { natsProxy, env: { NATS_URL: through(natsProxy, nats.url), LOG_LEVEL: 'warn' } };
  };
  const service = async (name: ProgramName, role: ServiceName): Promise<Program> => {
    const { natsProxy, env } = await common();
    const databaseProxy = await proxyTo(urls[role]);
    const entry = `subgraphs/${role}/dist/main.js`;
    return programPart({ name, role, url: at(name), databaseProxy, natsProxy }, entry, {
      ...env,
      [`${role.toUpperCase()}_PORT`]: ports[name],
      [`${role.toUpperCase()}_DATABASE_URL`]: through(databaseProxy, urls[role]),
      USERS_URL: at('users'),
      PRODUCTS_URL: at('products'),
      ORDERS_URL: at('ordersA'),
    });
  };
  const gateway = async (name: 'gatewayA' | 'gatewayB', orders: 'ordersA' | 'ordersB'): Promise<Program> => {
    const { natsProxy, env } = await common();
    const subgraphs = { users: at('users'), products: at('products'), orders: at(orders) };
    const SUBGRAPHS = Object.entries(subgraphs)
      .map(([subgraph, url]) => `${subgraph}=${url}/graphql`)
      .join();
    const program = { name, role: 'gateway', url: at(name), databaseProxy: null, natsProxy } as const;
    return programPart(program, 'gateway/dist/main.js', {
      ...env,
      PORT: ports[name],
      SUBGRAPHS,
      LAST_SUPERGRAPH: join(folder, `${name}.graphql`),
      ...(redis && { REDIS_URL: redis.url }),
    });
  };
  const list = await Promise.all([
    service('users', 'users'),
    service('products', 'products'),
    service('ordersA', 'orders'),
    service('ordersB', 'orders'),
    gateway('gatewayA', 'ordersA'),
    gateway('gatewayB', 'ordersB'),
  ]);
  stops.push(() => Promise.all(list.map((program) => program.kill())));
  await Promise.all(list.map((program) => program.start()));
  const natsPart: Part = {
    name: 'nats',
    start: () => nats.start(),
    async kill(loseMemory) {
      await nats.kill();
      if (loseMemory) nats.loseDisk();
    },
    pause: () => signalTree(nats.pid, 'SIGSTOP'),
    resume: () => signalTree(nats.pid, 'SIGCONT'),
  };
  const redisPart: Part | null = redis && {
    name: 'redis',
    start: () => redis.start(),
    kill: () => redis.kill(),
    pause: () => redis.signal('SIGSTOP'),
    resume: () => redis.signal('SIGCONT'),
  };
  const parts = [...list, ...databases, natsPart, ...(redisPart ? [redisPart] : [])];
  return {
    folder,
    parts,
    programs: Object.fromEntries(list.map((program) => [program.name, program])) as FaultStack['programs'],
    databases,
    nats,
    redis,
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
  };
}

async function startDatabase(
  service: ServiceName,
  dataFolder: string,
): Promise<Part & { service: ServiceName; url: string }> {
  const launch = (port: number) => EmbeddedPostgres.start({ dataFolder, port, password: PASSWORD });
  const port = await restartablePort();
  let server = await launch(port);
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
      signalTree(server.pid, 'SIGKILL');
      await server.ended;
    },
    pause: () => signalTree(server.pid, 'SIGSTOP'),
    resume: () => signalTree(server.pid, 'SIGCONT'),
  };
}

type Wiring = Pick<Program, 'name' | 'role' | 'url' | 'databaseProxy' | 'natsProxy'>;

function programPart(wiring: Wiring, entry: string, env: NodeJS.ProcessEnv): Program {
  const { name, url } = wiring;
  let running: RunningProgram | undefined;
  // What earlier processes of it logged.
  let logged = '';
  const program: Program = {
    ...wiring,
    output: () => logged + (running?.output() ?? ''),
    launch(release) {
      logged += running?.output() ?? '';
      running = runProgram(release ? join(release, entry) : entry, [], env);
    },
    async start() {
      program.launch();
      const started = running as RunningProgram;
      const fail = (why: string) => new Error(`${name} did not become ready: ${why}\n${started.output()}`);
      const ready = until(
        () => readyStatus(url),
        (status) => status === 200,
        60_000,
      ).catch((error: Error) => Promise.reject(fail(error.message)));
      const ended = started.ended.then((how) => Promise.reject(fail(`it ended with ${how}`)));
      await Promise.race([ready, ended]);
    },
    async kill() {
      running?.kill('SIGKILL');
      await running?.ended;
    },
    pause: () => running?.kill('SIGSTOP'),
    resume: () => running?.kill('SIGCONT'),
  };
  return program;
}

/** The HTTP status of a program's `/health/ready`; 0: it does not answer. */
export async function readyStatus(url: string): Promise<number> {
  const ready = fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(2000) });
  return ready.then(
    ({ status }) => status,
    () => 0,
  );
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

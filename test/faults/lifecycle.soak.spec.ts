import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@tributary/cli';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, SERVICES, type ServiceName, type TestDatabases } from '../harness/databases.ts';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { isAlive, type RunningProgram, runProgram } from '../harness/process.ts';
import { Random } from '../harness/random.ts';
import { haveRedis, startRedis, type TestRedis } from '../harness/redis.ts';
import { until } from '../harness/until.ts';
import { expectOrdersInOrder, unsettled } from './order-accounts.ts';
import { type ClientOrder, OrderClients } from './order-clients.ts';

// The programs are started and stopped at random moments, also while they start, and orders are placed all the time. Each ends in time
// and leaves nothing behind: no process, no session of the database, no connection to NATS, and no event that was not published.
const STARTS = Number(process.env.STARTS ?? 20);
const SEED = Number(process.env.FAULT_SEED ?? 14);
/** How long a program may take to end: 5 s, and the requests in flight, which wait for an order for at most 2 s. */
const END_MS = 7000;
/** One that was killed cannot say goodbye: its peers notice by themselves. */
const NOTICE_MS = 5000;
const CLIENTS = 6;

const NAMES = [...SERVICES, 'gateway'] as const;
type ProgramName = (typeof NAMES)[number];

let databases: TestDatabases | undefined;
let nats: TestNats | undefined;
let redis: TestRedis | undefined;
const folder = mkdtempSync(join(tmpdir(), 'tributary-starts-'));
const running = new Set<RunningProgram>();
beforeAll(async () => {
  if (!haveNats()) return;
  [databases, nats, redis] = await Promise.all([
    cloneDatabases(),
    startNats(),
    haveRedis() ? startRedis() : Promise.resolve(undefined),
  ]);
}, 120_000);
afterAll(async () => {
  for (const program of running) program.kill('SIGKILL');
  await Promise.all([...running].map(({ ended }) => ended));
  await redis?.kill();
  await nats?.remove();
  await databases?.drop();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

function start(entry: string, args: readonly string[], env: NodeJS.ProcessEnv): RunningProgram {
  const program = runProgram(entry, args, env);
  running.add(program);
  return program;
}

/** The processes that a program has started. */
function childrenOf({ pid }: RunningProgram): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(/\s+/).filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

interface Ending {
  readonly program: string;
  readonly signal: NodeJS.Signals;
  readonly afterMs: number;
  /** What its log says of parts that had to be left. */
  readonly left: readonly string[];
}

/** Ends a program, and sees that its processes are gone. */
async function stop(name: string, program: RunningProgram, random: Random): Promise<Ending> {
  const kind = random.next();
  const signal = kind < 0.7 ? 'SIGTERM' : kind < 0.85 ? 'SIGINT' : 'SIGKILL';
  const children = childrenOf(program);
  const toldAt = performance.now();
  program.kill(signal);
  const status = await program.ended;
  const afterMs = Math.round(performance.now() - toldAt);
  running.delete(program);
  // One that does not listen for signals yet is ended by them.
  expect([0, signal], `${name} on ${signal}:\n${program.output()}`).toContain(status);
  expect(afterMs, `${name} on ${signal}:\n${program.output()}`).toBeLessThan(END_MS);
  await until(
    async () => children.filter(isAlive),
    (alive) => alive.length === 0,
    NOTICE_MS,
  );
  const left = [...program.output().matchAll(/"part":"([^"]+)"[^\n]*left behind/g)].map(([, part]) => part as string);
  return { program: name, signal, afterMs, left };
}

test.skipIf(!haveNats())(
  `${STARTS} starts and stops of the programs under load (seed ${SEED})`,
  {
    timeout: 180_000 + STARTS * 10_000,
  },
  async () => {
    process.stdout.write(`  seed ${SEED}\n`);
    const { urls: databaseUrls, query } = databases as TestDatabases;
    const { url: natsUrl, monitorUrl } = nats as TestNats;
    const ports = new Map(await Promise.all(NAMES.map(async (name) => [name, await freePort()] as const)));
    const at = (name: ProgramName) => `http://localhost:${ports.get(name)}`;
    const environment: NodeJS.ProcessEnv = {
      NATS_URL: natsUrl,
      REDIS_URL: redis?.url,
      EVENT_POLL_INTERVAL: '500ms',
      SUBGRAPHS: SERVICES.map((name) => `${name}=${at(name)}/graphql`).join(),
      GATEWAY_PORT: String(ports.get('gateway')),
      ...Object.fromEntries(
        SERVICES.flatMap((name) => [
          [`${name.toUpperCase()}_PORT`, String(ports.get(name))],
          [`${name.toUpperCase()}_URL`, at(name)],
          [`${name.toUpperCase()}_DATABASE_URL`, databaseUrls[name]],
        ]),
      ),
    };
    const entryOf = (name: ProgramName) => `${name === 'gateway' ? name : `subgraphs/${name}`}/dist/main.js`;
    const startOne = (name: ProgramName, processes: number) =>
      start(entryOf(name), [], { ...environment, PROCESSES: String(processes) });
    const isReady = (url: string, withinMs: number) =>
      until(
        () => fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(2000) }).then((r) => r.status, String),
        (status) => status === 200,
        withinMs,
      );
    const sessions = async (name: ServiceName) => {
      const rows = await query(
        name,
        `select application_name, count(*) filter (where locktype is not null)::int as locks
       from pg_stat_activity left join pg_locks using (pid)
       where datname = current_database() and application_name like 'tributary-%' group by 1`,
      );
      return rows;
    };
    const connections = async (name: ProgramName) => {
      const { connections } = (await (await fetch(`${monitorUrl}/connz`)).json()) as {
        connections: { name?: string }[];
      };
      return connections.filter((connection) => connection.name === name).length;
    };
    /** Nothing of a program that has ended is left at the database and at NATS. */
    const expectNothingLeft = async (name: ProgramName) => {
      if (name !== 'gateway')
        await until(
          () => sessions(name),
          (left) => left.length === 0,
          NOTICE_MS,
        );
      await until(
        () => connections(name),
        (left) => left === 0,
        NOTICE_MS,
      );
    };

    await Promise.all(SERVICES.map((name) => query(name, 'select 1')));
    const ids = async (service: 'users' | 'products', limit: number) =>
      (await query(service, `select id from ${service} order by id limit ${limit}`)).map(({ id }) => String(id));
    const shop = { gateways: [at('gateway')], customers: await ids('users', 20), products: await ids('products', 40) };
    await query(
      'users',
      `with paid as (
       insert into account_entries (user_id, amount, reason) select id, 20000, 'deposit' from unnest($1::text[]) as ids (id)
       returning user_id
     ) update accounts set balance = balance + 20000, version = version + 1 from paid where accounts.user_id = paid.user_id`,
      [shop.customers],
    );

    // Clients place orders, and read them, until everything was started for the last time.
    const clientOrders: ClientOrder[] = [];
    let over = false;
    const placing = (async () => {
      for (let round = 1; !over; round++) {
        const clients = new OrderClients(shop, SEED * 1000 + round);
        await clients.run(2 * CLIENTS, CLIENTS);
        clientOrders.push(...clients.orders);
      }
    })();

    const endings: Ending[] = [];
    let started = 0;
    const startAndStop = async (name: ProgramName, seed: number) => {
      const random = new Random(seed);
      while (started < STARTS) {
        started += 1;
        const program = startOne(name, random.pick([1, 1, 2]));
        // Some are stopped while they start, the others while they serve. One that waits for others that are down is stopped, too.
        if (random.next() < 0.4) await sleep(random.below(1500));
        else {
          await isReady(at(name), 5000).catch(() => null);
          await sleep(random.below(2500));
        }
        endings.push(await stop(name, program, random));
        await expectNothingLeft(name);
      }
      return startOne(name, 1);
    };
    const startAndStopAll = async () => {
      const random = new Random(SEED + NAMES.length);
      const dataDir = join(folder, 'data');
      const flags = ['gateway', 'users', 'products', 'orders'].map((name) => `--${name}-port=0`);
      for (let n = 0; n < STARTS / 10; n++) {
        const program = start(
          'cli/bin/tributary.mjs',
          ['start', '--scale=0.01', `--data-dir=${dataDir}`, ...flags],
          {},
        );
        if (random.next() < 0.5) await sleep(random.below(3000));
        else await program.printed(/Tributary is ready/);
        endings.push(await stop('npm start', program, random));
      }
    };
    const stopping = Promise.all([...NAMES.map((name, i) => startAndStop(name, SEED * 10 + i)), startAndStopAll()]);
    await Promise.race([stopping, placing]);
    await stopping;
    await Promise.all(NAMES.map((name) => isReady(at(name), 60_000)));
    over = true;
    await placing;

    await until(
      () => unsettled(query),
      (left) => left === 0,
      60_000,
    );
    const stack = {
      gateways: shop.gateways,
      urls: { users: at('users'), products: at('products'), orders: at('orders') },
      databaseUrls,
      query: query as never,
    };
    await expectOrdersInOrder(stack, clientOrders);
    const [unpublished] = await query('orders', 'select head - published as count from ledger');
    expect(Number(unpublished?.count)).toBe(0);
    const slowest = endings.toSorted((a, b) => b.afterMs - a.afterMs).slice(0, 3);
    const left = endings.filter((ending) => ending.left.length > 0);
    process.stdout.write(
      `  ${endings.length} endings, ${clientOrders.length} orders; slowest ${JSON.stringify(slowest)}; left behind ${JSON.stringify(left)}\n`,
    );
    expect(endings.length).toBeGreaterThanOrEqual(STARTS);
  },
);

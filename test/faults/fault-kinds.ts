import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'nats';
import type { ServiceName } from '../harness/databases.ts';
import { type FaultStack, type Part, type Program, readyStatus } from '../harness/fault-stack.ts';
import { ask } from '../harness/graphql-client.ts';
import type { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';
import { Deck } from './deck.ts';
import type { OrderClients } from './order-clients.ts';
import { readMetrics } from './stack-health.ts';

/** What a fault is begun on. */
export interface FaultWorld {
  readonly stack: FaultStack;
  readonly clients: OrderClients;
  readonly random: Random;
  /** Products to order, at least 100 of them. */
  readonly products: readonly string[];
  /** The folder of an earlier release's build, where there is one. */
  readonly earlierRelease: string | undefined;
}

/** A fault in progress. */
interface RunningFault {
  /** What is hurt, such as `ordersA`. */
  readonly target: string;
  /** How long until it is ended, in milliseconds. */
  readonly lastsMs: number;
  /** Checks what must work while it lasts. @throws when that does not work in time */
  during?(): Promise<void>;
  /** Resolves when nothing is hurt any more; the programs may still be starting. */
  end(): Promise<void>;
}

export interface FaultKind {
  readonly name: string;
  /** Two faults of one area never overlap. Null: no other fault overlaps with this one, whatever its area. */
  readonly area: 'programs' | 'databases' | 'nats' | 'redis' | null;
  /** Resolves when the fault is in force. */
  readonly begin: () => Promise<RunningFault>;
}

/** How often metrics are looked at and orders are tried: often enough, and no load of its own. */
export const POLL_MS = 250;
/** How long a server or a program is away, where the kind has no length of its own, and how much longer at most. */
const SHORT_MS = 500;
const VARIES_MS = 2500;
/** A program that is restarted while another is away must serve within this time. */
const SERVES_WITHIN_MS = 10_000;
/** How long what it is restarted without stays away. */
const OUTAGE_MS = 12_000;
/** A relay leader that hangs is replaced within this time. */
const LEAD_WITHIN_MS = 4000;
/** What NATS takes at most while messages are too large for it: less than an event of an order of 100 products has. */
const SMALL_PAYLOAD = 8 * 1024;
const LARGE_ORDERS = 60;
const LARGE_ORDER_LINES = 100;

/** Every kind of fault that can be made here, by name. */
export function faultKinds(world: FaultWorld): readonly FaultKind[] {
  const { stack, random, earlierRelease } = world;
  const { nats, redis, databases } = stack;
  const programs = Object.values(stack.programs);
  const services = programs.filter(({ databaseProxy }) => databaseProxy !== null);
  const natsPart = partNamed(stack, 'nats');
  const shortly = () => SHORT_MS + random.below(VARIES_MS);

  return [
    { name: 'program-killed', area: 'programs', begin: killed(programs) },
    { name: 'program-stopped', area: 'programs', begin: stopped(programs) },
    { name: 'leader-stopped', area: null, begin: () => stopLeader(world) },
    { name: 'service-restarted-in-outage', area: null, begin: restartedInOutage(serviceOutages(stack)) },
    { name: 'gateway-restarted-in-outage', area: null, begin: restartedInOutage(gatewayOutages(stack)) },
    ...(earlierRelease === undefined
      ? []
      : [{ name: 'earlier-release', area: null, begin: () => runEarlierRelease(world, earlierRelease) }]),
    { name: 'database-killed', area: 'databases', begin: killed(databases) },
    { name: 'database-stopped', area: 'databases', begin: stopped(databases) },
    {
      name: 'database-connections-swallowed',
      area: 'databases',
      begin: swallowed(services, ({ databaseProxy }) => databaseProxy),
    },
    { name: 'nats-killed', area: 'nats', begin: killed([natsPart]) },
    { name: 'nats-stopped', area: 'nats', begin: stopped([natsPart]) },
    { name: 'nats-disk-lost', area: 'nats', begin: killed([natsPart], true) },
    { name: 'nats-connections-swallowed', area: 'nats', begin: swallowed(programs, ({ natsProxy }) => natsProxy) },
    {
      name: 'nats-login-refused',
      area: 'nats',
      begin: () => restartNats(['-js', '--user', 'tests', '--pass', 'tests-only'], 1000 + random.below(5000)),
    },
    { name: 'jetstream-off', area: 'nats', begin: () => restartNats([], 8000) },
    { name: 'streams-deleted', area: 'nats', begin: () => deleteFromJetStream('streams') },
    { name: 'consumers-deleted', area: 'nats', begin: () => deleteFromJetStream('consumers') },
    { name: 'messages-too-large', area: null, begin: () => sendLargeOrders(world) },
    ...(redis === null
      ? []
      : ([
          { name: 'redis-killed', area: 'redis', begin: killed([partNamed(stack, 'redis')]) },
          { name: 'redis-stopped', area: 'redis', begin: stopped([partNamed(stack, 'redis')]) },
          // It refuses writes, and keeps nothing.
          {
            name: 'redis-out-of-memory',
            area: 'redis',
            begin: redisSet(['CONFIG', 'SET', 'maxmemory', '1'], ['CONFIG', 'SET', 'maxmemory', '0']),
          },
          // A replica of a server that is not there.
          {
            name: 'redis-read-only',
            area: 'redis',
            begin: redisSet(['REPLICAOF', '127.0.0.1', '1'], ['REPLICAOF', 'NO', 'ONE']),
          },
        ] as const)),
  ];

  /** Each of them has its turn. */
  function killed(parts: readonly Part[], loseMemory = false): FaultKind['begin'] {
    const deck = new Deck(parts, random);
    return async () => {
      const part = deck.draw();
      const lastsMs = shortly();
      await part.kill(loseMemory);
      return { target: part.name, lastsMs, end: () => launch(part) };
    };
  }

  function stopped(parts: readonly Part[]): FaultKind['begin'] {
    const deck = new Deck(parts, random);
    return async () => {
      const part = deck.draw();
      const lastsMs = shortly();
      part.pause();
      return { target: part.name, lastsMs, end: async () => part.resume() };
    };
  }

  /** The connections that a program has go silent for good; new ones work. At the end the server closes its side of them. */
  function swallowed(
    of: readonly Program[],
    proxyOf: (program: Program) => Program['databaseProxy'],
  ): FaultKind['begin'] {
    const deck = new Deck(of, random);
    return async () => {
      const program = deck.draw();
      const proxy = proxyOf(program);
      const lastsMs = 5000 + random.below(3000);
      proxy?.swallow();
      return { target: program.name, lastsMs, end: async () => proxy?.endSwallowed() };
    };
  }

  async function restartNats(args: readonly string[], lastsMs: number): Promise<RunningFault> {
    await nats.kill();
    await nats.start(args);
    return {
      target: 'nats',
      lastsMs,
      async end() {
        await nats.kill();
        await nats.start();
      },
    };
  }

  /** By a client of NATS, under load. */
  async function deleteFromJetStream(what: 'streams' | 'consumers'): Promise<RunningFault> {
    const connection = await connect({ servers: nats.url, timeout: 5000 });
    const manager = await connection.jetstreamManager();
    const names: string[] = [];
    for await (const { config } of manager.streams.list()) names.push(config.name);
    for (const stream of names) {
      if (what === 'streams') await manager.streams.delete(stream);
      else {
        for await (const { name } of manager.consumers.list(stream)) await manager.consumers.delete(stream, name);
      }
    }
    await connection.close();
    return { target: 'nats', lastsMs: 0, end: async () => undefined };
  }

  function redisSet(begin: readonly [string, ...string[]], end: readonly [string, ...string[]]): FaultKind['begin'] {
    return async () => {
      await redis?.command(...begin);
      return { target: 'redis', lastsMs: shortly(), end: async () => void (await redis?.command(...end)) };
    };
  }

  /** Something is away; meanwhile a program is killed and started, and must serve what it can without. */
  function restartedInOutage(outages: readonly Outage[]): FaultKind['begin'] {
    const deck = new Deck(outages, random);
    return async () => {
      const { away, restarted, answers } = deck.draw();
      await Promise.all(away.map((part) => part.kill()));
      await restarted.kill();
      restarted.launch();
      const without = away.map(({ name }) => name).join(' and ');
      return {
        target: `${restarted.name} without ${without}`,
        lastsMs: OUTAGE_MS,
        async during() {
          await until(
            () => readyStatus(restarted.url),
            (status) => status === 200,
            SERVES_WITHIN_MS,
            POLL_MS,
          ).catch(() => {
            throw new Error(`${restarted.name} was not ready within ${SERVES_WITHIN_MS} ms while ${without} was away`);
          });
          if (!(await answers())) throw new Error(`${restarted.name} was ready without ${without}, and did not answer`);
        },
        end: async () => void (await Promise.all(away.map(launch))),
      };
    };
  }
}

interface Outage {
  readonly away: readonly Part[];
  readonly restarted: Program;
  /** Whether it answers what it can answer without. */
  readonly answers: () => Promise<boolean>;
}

/** Every service, restarted while another, or NATS, is away. */
function serviceOutages(stack: FaultStack): Outage[] {
  const { users, products, ordersA, ordersB } = stack.programs;
  const nats = partNamed(stack, 'nats');
  const own = {
    users: '{ users(first: 1) { edges { node { id } } } }',
    products: '{ products(first: 1) { edges { node { id } } } }',
    orders: '{ orders(first: 1) { edges { node { id } } } }',
  };
  const outage = (restarted: Program, away: readonly Part[]): Outage => ({
    away,
    restarted,
    answers: () => answersAll(restarted.url, own[restarted.role as ServiceName]),
  });
  return [
    outage(ordersA, [products]),
    outage(ordersB, [users]),
    outage(users, [ordersA, ordersB]),
    outage(products, [ordersA, ordersB]),
    outage(ordersB, [products, users]),
    outage(ordersA, [nats]),
    outage(users, [nats]),
    outage(products, [nats]),
  ];
}

/** Either gateway, restarted while a service, NATS or Redis is away. */
function gatewayOutages(stack: FaultStack): Outage[] {
  const { users, products, ordersA, ordersB, gatewayA, gatewayB } = stack.programs;
  const aboutUsers = '{ users(first: 1) { edges { node { id name } } } }';
  const aboutProducts = '{ products(first: 1) { edges { node { id name } } } }';
  const outage = (restarted: Program, away: readonly Part[], query: string): Outage => ({
    away,
    restarted,
    answers: () => answersAll(restarted.url, query),
  });
  return [
    outage(gatewayA, [products], aboutUsers),
    outage(gatewayB, [users], aboutProducts),
    outage(gatewayA, [ordersA], aboutUsers),
    outage(gatewayB, [ordersB, products], aboutUsers),
    outage(gatewayA, [partNamed(stack, 'nats')], aboutUsers),
    ...(stack.redis ? [outage(gatewayB, [partNamed(stack, 'redis')], aboutProducts)] : []),
  ];
}

/** Whether a query is answered in full within a while. */
async function answersAll(url: string, query: string): Promise<boolean> {
  return until(
    async () => {
      const answer = await ask(url, query).catch(() => null);
      return answer !== null && answer.status === 200 && !answer.errors;
    },
    (answered) => answered,
    SERVES_WITHIN_MS,
    POLL_MS,
  ).catch(() => false);
}

/** The process that leads the relay of orders hangs for 10 to 20 s; the other one takes over, and orders are placed through it. */
async function stopLeader({ stack, clients, random }: FaultWorld): Promise<RunningFault> {
  const { ordersA, ordersB } = stack.programs;
  const leads = async (program: Program) =>
    (await readMetrics(program))?.some(({ metric, value }) => metric === 'relay_leading' && value === 1) ?? false;
  const leader = (await leads(ordersA)) ? ordersA : ordersB;
  const [other, gateway] = leader === ordersA ? [ordersB, stack.programs.gatewayB] : [ordersA, stack.programs.gatewayA];
  const lastsMs = 10_000 + random.below(10_000);
  leader.pause();
  return {
    target: leader.name,
    lastsMs,
    async during() {
      await until(
        () => leads(other),
        (leading) => leading,
        LEAD_WITHIN_MS,
        POLL_MS,
      ).catch(() => {
        throw new Error(`${other.name} did not lead within ${LEAD_WITHIN_MS} ms`);
      });
      await settlesThrough(clients, gateway, lastsMs);
    },
    end: async () => leader.resume(),
  };
}

/** A roll-out: one process of orders and one gateway run an earlier release for a while, on the migrated databases. */
async function runEarlierRelease({ stack, clients, random }: FaultWorld, release: string): Promise<RunningFault> {
  const { ordersB, gatewayB } = stack.programs;
  const older = [ordersB, gatewayB];
  await Promise.all(older.map((program) => program.kill()));
  for (const program of older) program.launch(release);
  const lastsMs = 15_000 + random.below(10_000);
  return {
    target: 'ordersB and gatewayB',
    lastsMs,
    during: () => settlesThrough(clients, gatewayB, lastsMs),
    async end() {
      await Promise.all(older.map((program) => program.kill()));
      for (const program of older) program.launch();
    },
  };
}

/** Orders of 100 products meet a NATS that takes no message of their size: they, and all others, go on. */
async function sendLargeOrders({ stack, clients, products }: FaultWorld): Promise<RunningFault> {
  const { nats, programs } = stack;
  const configFile = join(stack.folder, 'small-payload.conf');
  writeFileSync(configFile, `max_payload: ${SMALL_PAYLOAD}\n`);
  await nats.kill();
  await nats.start(['-js', '-c', configFile]);
  const items = products.slice(0, LARGE_ORDER_LINES).map((productId) => ({ productId, quantity: 1 }));
  await Promise.all(
    Array.from({ length: LARGE_ORDERS }, (_, i) => clients.place(stack.gateways[i % 2] as string, 0, items)),
  );
  const backlog = async () => {
    const samples = await Promise.all([programs.ordersA, programs.ordersB].map(readMetrics));
    const found = samples.flatMap((each) => each?.filter(({ metric }) => metric === 'relay_backlog_events') ?? []);
    return found.length > 0 ? Math.max(...found.map(({ value }) => value)) : null;
  };
  return {
    target: 'nats',
    lastsMs: 8000,
    async during() {
      await until(backlog, (events) => events !== null && events < 100, 7000, POLL_MS).catch((error) => {
        throw new Error(`the relay of orders does not publish: ${error.message}`);
      });
      await settlesThrough(clients, programs.gatewayA, 5000);
    },
    async end() {
      await nats.kill();
      await nats.start();
    },
  };
}

/** Places orders through a gateway until one is settled in time. */
async function settlesThrough(clients: OrderClients, gateway: Program, withinMs: number): Promise<void> {
  await until(() => clients.place(gateway.url, 3000), isSettled, withinMs, POLL_MS).catch((error) => {
    throw new Error(`no order through ${gateway.name} was settled: ${error.message}`);
  });
}

export const isSettled = (status: string) => status === 'CONFIRMED' || status === 'REJECTED';

/** Programs are not waited for: they must be well in time. */
async function launch(part: Part | Program): Promise<void> {
  if ('launch' in part) part.launch();
  else await part.start();
}

function partNamed({ parts }: FaultStack, name: string): Part {
  const part = parts.find((each) => each.name === name);
  if (!part) throw new Error(`There is no part ${name}.`);
  return part;
}

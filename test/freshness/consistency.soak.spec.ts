import { setTimeout as sleep } from 'node:timers/promises';
import { NatsBus } from '@tributary/bus';
import { createGateway, type Gateway, readConfig } from '@tributary/gateway';
import { pino } from 'pino';
import { expect, inject, onTestFinished, test } from 'vitest';
import {
  createItemDatabases,
  type ItemDatabases,
  type ItemService,
  startItems,
  startShelves,
} from '../harness/item-services.ts';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { Random } from '../harness/random.ts';
import { haveRedis, startRedis, type TestRedis } from '../harness/redis.ts';
import { startTcpProxy, type TcpProxy, through } from '../harness/tcp-proxy.ts';
import { until } from '../harness/until.ts';

// Clients read and write through two gateways that share a Redis and receive invalidations over NATS. Each gateway has an instance of each
// service of its own, with the real outbox, relay, consumer and position headers on PostgreSQL. Everything between these is slow, and
// is held up, cut and killed now and then. FRESHNESS_OPERATIONS is how many operations; FRESHNESS_SEED repeats what is chosen (not how it
// interleaves).
const OPERATIONS = Number(process.env.FRESHNESS_OPERATIONS ?? 6000);
const SEED = Number(process.env.FRESHNESS_SEED ?? 14);
const CLIENTS = 32;
const ITEMS = 5;
const BOUNDS_MS = [0, 20, 60, 150, 400];
/** After how many operations the next thing breaks. */
const BREAK_EVERY = 700;

const silent = pino({ level: 'silent' });

/** A gateway with its own instances of the services, and the proxies between them all. */
interface Node {
  readonly gateway: Gateway;
  readonly url: string;
  readonly services: readonly ItemService[];
  /** To what the relays and consumers of the services need. */
  readonly databases: readonly TcpProxy[];
  readonly nats: readonly TcpProxy[];
  readonly others: readonly TcpProxy[];
}

async function startNode(
  random: Random,
  databases: ItemDatabases,
  nats: TestNats,
  redis: TestRedis,
  onCommit: (id: string, version: number) => void,
): Promise<Node> {
  const postgres = new URL(inject('postgresUrl'));
  const portOf = (url: string) => Number(new URL(url).port);
  const below = (ms: number) => () => random.below(ms);
  const toDatabase = (ms: number) => startTcpProxy(postgres.hostname, Number(postgres.port), below(ms));
  const toNats = (ms: number) => startTcpProxy('127.0.0.1', portOf(nats.url), below(ms));
  // The relay of the items is slow: much is committed between its look and the arrival of what it says.
  const ways = {
    items: [await toDatabase(60), await toNats(40)],
    shelves: [await toDatabase(4), await toNats(8)],
  } as const;
  const surroundings = (name: keyof typeof ways) => {
    const [database, toBus] = ways[name];
    return { database, bus: new NatsBus({ url: through(toBus, nats.url), name, logger: silent }) };
  };
  const items = await startItems(databases, surroundings('items'), onCommit);
  // The way of the gateway, and of the consumer to the event log.
  const itemsProxy = await startTcpProxy('127.0.0.1', portOf(items.url), below(8));
  const shelves = await startShelves(databases, surroundings('shelves'), through(itemsProxy, items.url));
  const shelvesProxy = await startTcpProxy('127.0.0.1', portOf(shelves.url), below(8));
  const gatewayNats = await toNats(8);
  await shelves.caughtUp;
  const gateway = await createGateway(
    readConfig({
      GATEWAY_PORT: '0',
      SUBGRAPHS: `items=${through(itemsProxy, items.url)}/graphql,shelves=${through(shelvesProxy, shelves.url)}/graphql`,
      SUPERGRAPH_POLL_INTERVAL: '1h',
      NATS_URL: through(gatewayNats, nats.url),
      REDIS_URL: redis.url,
    }),
    silent,
  );
  const url = await gateway.listen();
  await gateway.ready;
  return {
    gateway,
    url,
    services: [items, shelves],
    databases: [ways.items[0], ways.shelves[0]],
    nats: [ways.items[1], ways.shelves[1]],
    others: [gatewayNats, itemsProxy, shelvesProxy],
  };
}

const proxiesOf = ({ databases, nats, others }: Node) => [...databases, ...nats, ...others];

async function stopNode(node: Node): Promise<void> {
  const { gateway, services } = node;
  await gateway.close();
  for (const service of services) await service.stop();
  await Promise.all(proxiesOf(node).map((proxy) => proxy.close()));
}

/** An operation of a client, by name; what it says of an item's version. */
interface ReadOperation {
  readonly query: string;
  readonly operationName: string;
  readonly version: (data: never, id: string) => number;
}

// The same fields under several names, as different pages ask for them.
const READS: readonly ReadOperation[] = ['ItemPage', 'ItemCard'].flatMap((page) => [
  {
    operationName: page,
    query: `query ${page}($id: ID!) { item(id: $id) { version } }`,
    version: (data: { item: { version: number } }) => data.item.version,
  },
  {
    operationName: `${page}OnShelf`,
    query: `query ${page}OnShelf($id: ID!) { shelf(id: $id) { item { version } } }`,
    version: (data: { shelf: { item: { version: number } } }) => data.shelf.item.version,
  },
  {
    operationName: `${page}OfOwner`,
    query: `query ${page}OfOwner($id: ID!) { shelf(id: $id) { item { size } } }`,
    version: (data: { shelf: { item: { size: number } } }) => data.shelf.item.size,
  },
  {
    operationName: `${page}WithShelf`,
    query: `query ${page}WithShelf($id: ID!) { item(id: $id) { shelf { item { version } } } }`,
    version: (data: { item: { shelf: { item: { version: number } } } }) => data.item.shelf.item.version,
  },
  {
    operationName: `${page}List`,
    query: `query ${page}List { items { id version } }`,
    version: (data: { items: { id: string; version: number }[] }, id: string) =>
      data.items.find((item) => item.id === id)?.version ?? -1,
  },
]);

/** A mutation, and every version of the changed item that its response shows. */
const CHANGES: readonly { query: string; operationName: string; versions: (data: never) => number[] }[] = [
  {
    operationName: 'Change',
    query: 'mutation Change($id: ID!) { change(id: $id) { version shelf { item { version } } } }',
    versions: (data: { change: { version: number; shelf: { item: { version: number } } } }) => [
      data.change.version,
      data.change.shelf.item.version,
    ],
  },
  {
    operationName: 'ChangeAndTidy',
    query: 'mutation ChangeAndTidy($id: ID!) { change(id: $id) { version } tidy(id: $id) { item { version } } }',
    versions: (data: { change: { version: number }; tidy: { item: { version: number } } }) => [
      data.change.version,
      data.tidy.item.version,
    ],
  },
];

/** What a client read, and what it could demand. */
interface Reading {
  readonly operationName: string;
  readonly id: string;
  readonly version: number;
  /** By `performance.now()`. */
  readonly startedAt: number;
  /** The gateway's watermark. */
  readonly watermark: number;
  /** The version that the session has written; 0: none. */
  readonly own: number;
  readonly boundMs: number | null;
}

interface Answer {
  readonly data: never;
  readonly errors?: readonly unknown[];
  readonly extensions?: { explanation: { switched: boolean; fetches: { cached: number }[] } };
}

async function post(url: string, body: unknown, headers: Record<string, string>): Promise<[Answer, Headers]> {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-explain': 'yes', ...headers },
    body: JSON.stringify(body),
  });
  return [(await response.json()) as Answer, response.headers];
}

/** What was older than it may be, by the promise that it breaks. */
class Violations {
  readonly #found = new Map<string, string[]>();

  add(kind: 'own response' | 'watermark' | 'session' | 'bound', what: string): void {
    this.#found.set(kind, [...(this.#found.get(kind) ?? []), what]);
  }

  get counts(): Record<string, number> {
    return Object.fromEntries([...this.#found].map(([kind, found]) => [kind, found.length]));
  }

  /** A few of each kind. */
  get examples(): string[] {
    return [...this.#found].flatMap(([kind, found]) => found.slice(0, 3).map((what) => `${kind}: ${what}`));
  }
}

const needed = haveNats() && haveRedis();

test.skipIf(!needed)(
  `${OPERATIONS} reads and writes through two gateways (seed ${SEED})${needed ? '' : ' (nats-server or redis-server is not installed)'}`,
  { timeout: 120_000 + OPERATIONS * 20 },
  async () => {
    const random = new Random(SEED);
    const [nats, redis, databases] = await Promise.all([startNats(), startRedis(), createItemDatabases(ITEMS)]);
    onTestFinished(async () => {
      await Promise.all([nats.remove(), redis.kill(), databases.drop()]);
    });
    /** When each version of an item was committed, at the latest, by `performance.now()`. */
    const committedAt = new Map(databases.ids.map((id) => [id, [0]]));
    const onCommit = (id: string, version: number) => {
      (committedAt.get(id) as number[])[version] = performance.now();
    };
    const start = () => startNode(random, databases, nats, redis, onCommit);
    const nodes = [await start(), await start()];
    const proxies = nodes.flatMap(proxiesOf);
    // Both gateways receive invalidations of both services: from now on they cache what they read.
    await until(
      () => Promise.all(nodes.map(async ({ url }) => (await fetch(`${url}/metrics`)).text())),
      (metrics) =>
        metrics.every((text) =>
          ['items', 'shelves'].every((name) => text.includes(`source_age_seconds{source="${name}"`)),
        ),
    );
    const readings: Reading[] = [];
    const violations = new Violations();
    const counts = { reads: 0, writes: 0, failed: 0, cached: 0, switched: 0, broken: 0 };
    let left = OPERATIONS;

    const client = async () => {
      let session: { token: string; versions: Map<string, number> } | null = null;
      while (left > 0) {
        left -= 1;
        const node = random.pick(nodes);
        const id = random.pick(databases.ids);
        if (random.next() < 0.1) {
          counts.writes += 1;
          const { query, operationName, versions } = random.pick(CHANGES);
          const headers: Record<string, string> = session ? { 'x-consistency-token': session.token } : {};
          const [{ data, errors }, answered] = await post(
            node.url,
            { query, operationName, variables: { id } },
            headers,
          );
          if (errors) {
            counts.failed += 1;
            continue;
          }
          const [version, ...others] = versions(data) as [number, ...number[]];
          for (const other of others) {
            if (other < version)
              violations.add('own response', `${operationName} made ${id} version ${version}, and shows ${other}`);
          }
          const own: Map<string, number> = session?.versions ?? new Map();
          own.set(id, Math.max(own.get(id) ?? 0, version));
          session = { token: answered.get('x-consistency-token') as string, versions: own };
          if (random.next() < 0.1) session = null;
          continue;
        }
        counts.reads += 1;
        const { query, operationName, version } = random.pick(READS);
        const used = session !== null && random.next() < 0.6 ? session : null;
        const boundMs = random.next() < 0.4 ? random.pick(BOUNDS_MS) : null;
        const before = {
          watermark: node.gateway.watermark('items'),
          own: used?.versions.get(id) ?? 0,
          startedAt: performance.now(),
        };
        const [{ data, errors, extensions }] = await post(
          node.url,
          { query, operationName, variables: { id } },
          {
            ...(used && { 'x-consistency-token': used.token }),
            ...(boundMs !== null && { 'x-max-staleness': `${boundMs}ms` }),
          },
        );
        if (errors) {
          counts.failed += 1;
          continue;
        }
        if (extensions?.explanation.switched) counts.switched += 1;
        if (extensions?.explanation.fetches.some(({ cached }) => cached > 0)) counts.cached += 1;
        readings.push({ operationName, id, version: version(data, id), boundMs, ...before });
      }
    };

    /** What the relays and consumers of both nodes need is slow for a while. */
    const slow = async (part: 'databases' | 'nats') => {
      const ways = nodes.flatMap((node) => node[part]);
      const usual = ways.map(({ delay }) => delay);
      for (const proxy of ways) proxy.delay = () => 20 + random.below(100);
      await sleep(2000);
      for (const [i, proxy] of ways.entries()) proxy.delay = usual[i] as () => number;
    };
    const disturb = async (proxy: TcpProxy) => {
      if (random.next() < 0.5) return proxy.cut();
      proxy.pause();
      await sleep(100 + random.below(400));
      proxy.resume();
    };
    const servers: (() => Promise<unknown>)[] = [
      () =>
        nats
          .kill()
          .then(() => sleep(300))
          .then(() => nats.start()),
      () =>
        nats
          .kill()
          .then(() => sleep(2500))
          .then(() => nats.start()),
      () =>
        redis
          .kill()
          .then(() => sleep(200))
          .then(() => redis.start()),
      async () => {
        redis.signal('SIGSTOP');
        await sleep(400);
        redis.signal('SIGCONT');
      },
      async () => {
        if (nats.pid) process.kill(nats.pid, 'SIGSTOP');
        await sleep(400);
        if (nats.pid) process.kill(nats.pid, 'SIGCONT');
      },
    ];
    /** Breaks one thing after the other, and repairs it. */
    const trouble = async () => {
      for (let next = BREAK_EVERY; next < OPERATIONS; next += BREAK_EVERY) {
        await until(
          async () => OPERATIONS - left,
          (done) => done >= next,
          120_000,
        );
        counts.broken += 1;
        const turn = Math.floor((counts.broken - 1) / 4);
        await [
          () => slow('databases'),
          () => slow('nats'),
          () => servers[turn % servers.length]?.(),
          () => disturb(random.pick(proxies)),
        ][(counts.broken - 1) % 4]?.();
      }
    };

    let changes: Awaited<ReturnType<ItemDatabases['changes']>>;
    try {
      await Promise.all([...Array.from({ length: CLIENTS }, client), trouble()]);
      changes = await databases.changes();
    } finally {
      await Promise.all(nodes.map(stopNode));
    }

    const versionAt = versionsByPosition(changes);
    for (const { operationName, id, version, startedAt, watermark, own, boundMs } of readings) {
      const what = `${operationName} of ${id}: version ${version}`;
      const invalidated = versionAt(id, watermark);
      if (version < invalidated) violations.add('watermark', `${what}, and the watermark includes ${invalidated}`);
      if (version < own) violations.add('session', `${what}, and the session wrote ${own}`);
      const staleMs = startedAt - (committedAt.get(id)?.[version + 1] ?? Number.POSITIVE_INFINITY);
      if (boundMs !== null && staleMs > boundMs)
        violations.add('bound', `${what} was replaced ${staleMs.toFixed(1)} ms before, the bound is ${boundMs}`);
    }
    process.stdout.write(
      `  ${JSON.stringify(counts)}, seed ${SEED}, violations: ${JSON.stringify(violations.counts)}\n`,
    );
    expect(violations.examples).toEqual([]);
    expect(counts.cached).toBeGreaterThan(OPERATIONS / 50);
    expect(counts.failed).toBeLessThan(OPERATIONS / 20);
  },
);

/** @returns the newest version of an item in the events up to a position */
function versionsByPosition(changes: readonly { position: number; id: string; version: number }[]) {
  const byItem = new Map<string, { position: number; version: number }[]>();
  for (const { id, ...change } of changes) byItem.set(id, [...(byItem.get(id) ?? []), change]);
  return (id: string, position: number) =>
    byItem.get(id)?.findLast((change) => change.position <= position)?.version ?? 0;
}

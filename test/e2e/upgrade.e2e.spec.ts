import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { freePort } from '@tributary/cli';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { expectOrdersInOrder, unsettled } from '../faults/order-accounts.ts';
import { OrderClients } from '../faults/order-clients.ts';
import { createEmptyDatabases, SERVICES, type ServiceName } from '../harness/databases.ts';
import { startDns } from '../harness/dns.ts';
import { buildEarlierRelease } from '../harness/earlier-release.ts';
import { ask } from '../harness/graphql-client.ts';
import { haveNats, startNats } from '../harness/nats.ts';
import { restartablePort } from '../harness/ports.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { haveRedis, startRedis } from '../harness/redis.ts';
import { until } from '../harness/until.ts';

// An upgrade from an earlier release: of a data folder, and of separate processes under load without downtime.

/** This release, as `runProgram` takes it. */
const PRESENT = fileURLToPath(new URL('../../', import.meta.url));
const PROXY_CONFIG = readFileSync(fileURLToPath(new URL('../../docker/haproxy.cfg', import.meta.url)), 'utf8');
const SCALE = '0.02';
const ROLES = [...SERVICES, 'gateway'] as const;
type Role = (typeof ROLES)[number];
/** How long both releases serve beside each other, for each role. */
const BESIDE_MS = 1500;
const CLIENTS = 4;
const SEED = 17;
const PLACE =
  'mutation ($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { id status } }';

let release: string | null;
const folder = mkdtempSync(join(tmpdir(), 'tributary-upgrade-'));
const cleanUps: (() => unknown)[] = [];
beforeAll(async () => {
  release = await buildEarlierRelease(join(folder, 'earlier'));
}, 180_000);
afterAll(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

function start(entry: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): RunningProgram {
  const program = runProgram(entry, args, env);
  cleanUps.push(async () => {
    program.kill('SIGKILL');
    await program.ended;
  });
  return program;
}

test('npm start takes over the data folder of an earlier release that was killed', { timeout: 120_000 }, async ({
  skip,
}) => {
  if (release === null) return skip('the history of the project is not there');
  const dataDir = `--data-dir=${join(folder, 'data')}`;
  const ports = ['--gateway-port=0', '--users-port=0', '--products-port=0', '--orders-port=0'];
  const args = ['start', dataDir, ...ports, `--scale=${SCALE}`];
  const graphOf = async (program: RunningProgram) =>
    (await program.printed(/(http:\/\/localhost:\d+)\/graphql/))[1] as string;
  const earlier = start(join(release, 'cli/dist/main.js'), args);
  const before = await graphOf(earlier);
  const { data: shelf } = await ask(before, '{ products(first: 3) { nodes { id } } users(first: 1) { nodes { id } } }');
  const customerId = shelf.users.nodes[0].id;
  const [first, second, third] = shelf.products.nodes.map(({ id }: { id: string }) => id) as [string, string, string];
  const order = (productId: string) => ({ customerId, items: [{ productId, quantity: 1 }], waitMs: 4000 });
  const place = async (url: string, key: string, productId: string) => {
    const { data, errors } = await ask(url, PLACE, { input: order(productId), key });
    expect(errors).toBeUndefined();
    return data.placeOrder as { id: string; status: string };
  };
  const deposit =
    'mutation ($id: ID!, $key: ID!) { deposit(userId: $id, amount: "9000", idempotencyKey: $key) { balance { amount } } }';
  expect((await ask(before, deposit, { id: customerId, key: 'a deposit' })).errors).toBeUndefined();
  const confirmed = await place(before, 'confirmed', first);
  expect(confirmed.status).toBe('CONFIRMED');
  const read = '{ orders(first: 100) { totalCount nodes { id status total { amount } } } users { totalCount } }';
  // Killed with an order that may not be settled.
  const unanswered = ask(before, PLACE, { input: order(second), key: 'unanswered' }).catch(() => null);
  const state = await ask(before, read);
  earlier.kill('SIGKILL');
  await Promise.all([earlier.ended, unanswered]);

  const now = start('cli/bin/tributary.mjs', args);
  const url = await graphOf(now);
  expect(await place(url, 'confirmed', first)).toEqual(confirmed);
  const again = await place(url, 'unanswered', second);
  expect(again.status).toBe('CONFIRMED');
  expect((await place(url, 'new', third)).status).toBe('CONFIRMED');
  const after = await ask(url, read);
  const lasting = ({ data }: typeof after) =>
    data.orders.nodes.filter(
      ({ id, status }: { id: string; status: string }) => id !== again.id && status !== 'PENDING',
    );
  // The new orders move the last ones to the next page.
  expect(lasting(after)).toEqual(expect.arrayContaining(lasting(state).slice(0, 90)));
  expect(after.data.users).toEqual(state.data.users);
  const verify = start('cli/bin/tributary.mjs', ['verify', dataDir]);
  const status = await verify.ended;
  expect({ status, output: status === 0 ? '' : verify.output() }).toEqual({ status: 0, output: '' });
  now.kill('SIGINT');
  expect(await now.ended).toBe(0);
});

/** Processes of each role, on addresses of their own behind HAProxy, as containers are. */
async function startStack(earlier: string) {
  const nats = await startNats();
  cleanUps.push(() => nats.remove());
  const redis = await startRedis();
  cleanUps.push(() => redis.kill());
  const databases = await createEmptyDatabases();
  cleanUps.push(() => databases.drop());
  const dns = await startDns();
  cleanUps.push(() => dns.stop());
  for (const role of ROLES) dns.addresses.set(role, []);
  const port = await restartablePort();
  const frontends = await startProxy(dns.port, port);
  const logs: string[] = [];

  const environmentOf = (role: Role, host: string): NodeJS.ProcessEnv => ({
    HOST: host,
    NATS_URL: nats.url,
    LOG_LEVEL: 'warn',
    SHUTDOWN_DELAY: '1500ms',
    SUPERSTORE_SCALE: SCALE,
    USERS_URL: frontends.users,
    PRODUCTS_URL: frontends.products,
    ORDERS_URL: frontends.orders,
    ...(role === 'gateway'
      ? {
          PORT: String(port),
          REDIS_URL: redis.url,
          SUBGRAPHS: SERVICES.map((name) => `${name}=${frontends[name]}/graphql`).join(),
        }
      : {
          [`${role.toUpperCase()}_PORT`]: String(port),
          [`${role.toUpperCase()}_DATABASE_URL`]: databases.urls[role],
        }),
  });
  const entryOf = (root: string, role: Role) =>
    join(root, role === 'gateway' ? 'gateway/dist/main.js' : `subgraphs/${role}/dist/main.js`);

  let lastAddress = 10;
  const running = new Map<Role, { program: RunningProgram; address: string }>();

  async function setUp(root: string, role: Role, env: NodeJS.ProcessEnv): Promise<void> {
    const setup = start(entryOf(root, role), ['setup'], env);
    const status = await setup.ended;
    expect({ status, output: status === 0 ? '' : setup.output() }).toEqual({ status: 0, output: '' });
  }

  /** Brings the database up to date, then starts a process beside those that run, and waits until it serves. */
  async function add(root: string, role: Role): Promise<void> {
    const address = `127.0.0.${++lastAddress}`;
    const env = environmentOf(role, address);
    if (role !== 'gateway') await setUp(root, role, env);
    const program = start(entryOf(root, role), [], env);
    void program.ended.then(() => logs.push(`${role} of ${root}:\n${program.output()}`));
    dns.addresses.set(role, [...(dns.addresses.get(role) ?? []), address]);
    running.set(role, { program, address });
  }
  const isReady = (role: Role) =>
    until(
      () =>
        fetch(`http://${running.get(role)?.address}:${port}/health/ready`).then(
          ({ status }) => status,
          () => 0,
        ),
      (status) => status === 200,
      30_000,
    ).catch((error: Error) => {
      throw new Error(`${role}: ${error.message}\n${running.get(role)?.program.output()}`);
    });
  /** Until the proxy has sent the newest process of a role a request. */
  const isUsed = (role: Role) =>
    until(
      async () => {
        const metrics = await (await fetch(`http://${running.get(role)?.address}:${port}/metrics`)).text();
        return Number(
          /^http_request_duration_seconds_count\{[^}]*route="\/graphql"[^}]*\} (\d+)/m.exec(metrics)?.[1] ?? 0,
        );
      },
      (requests) => requests > 0,
    );

  /** Until one of these processes of a service publishes its events: the earlier one does so until it ends. */
  const oneLeads = (addresses: readonly string[]) =>
    until(
      async () => {
        const metrics = addresses.map(async (address) => (await fetch(`http://${address}:${port}/metrics`)).text());
        return (await Promise.all(metrics)).filter((text) => /^relay_leading(\{.*\})? 1$/m.test(text)).length;
      },
      (leaders) => leaders === 1,
    );

  for (const role of ROLES) await add(earlier, role);
  for (const role of ROLES) await isReady(role);
  await until(
    () => fetch(`${frontends.gateway}/health/ready`).then(({ status }) => status, String),
    (status) => status === 200,
  );

  return {
    url: frontends.gateway,
    urls: { users: frontends.users, products: frontends.products, orders: frontends.orders },
    databases,
    redis,
    /** Brings the database of a service up to date once more. */
    setUpAgain: (role: ServiceName) => setUp(PRESENT, role, environmentOf(role, '127.0.0.1')),
    /** What the programs that have ended logged at `warn` and above. */
    logs,
    /** Starts the present release beside the earlier one, lets both serve for a while, and ends the earlier one in order. */
    async replace(role: Role): Promise<void> {
      const before = running.get(role) as { program: RunningProgram; address: string };
      await add(PRESENT, role);
      await isReady(role);
      await isUsed(role);
      if (role !== 'gateway') await oneLeads([before.address, running.get(role)?.address as string]);
      // A span of the test, not a wait for something: both releases serve.
      await sleep(BESIDE_MS);
      before.program.kill('SIGTERM');
      expect(await before.program.ended).toBe(0);
      dns.addresses.set(role, [running.get(role)?.address as string]);
    },
  };
}

/** HAProxy with the project's own configuration; @returns the URL in front of each role */
async function startProxy(dnsPort: number, backendPort: number): Promise<Readonly<Record<Role, string>>> {
  let text = PROXY_CONFIG;
  const urls = { gateway: '', users: '', products: '', orders: '' };
  const at = { gateway: 4000, users: 4001, products: 4002, orders: 4003 };
  for (const role of ROLES) {
    const port = await freePort();
    urls[role] = `http://127.0.0.1:${port}`;
    text = text
      .replace(`bind :${at[role]}`, `bind 127.0.0.1:${port}`)
      .replace(`${role}:${at[role]}`, `${role}:${backendPort}`);
  }
  const file = join(folder, 'haproxy.cfg');
  writeFileSync(file, text.replace('bind :4999', `bind 127.0.0.1:${await freePort()}`));
  const proxy: ChildProcess = spawn('haproxy', ['-db', '-f', file], {
    env: { PATH: process.env.PATH, DNS_SERVER: `127.0.0.1:${dnsPort}` },
    stdio: 'ignore',
  });
  const ended = new Promise((resolve) => proxy.once('exit', resolve));
  cleanUps.push(async () => {
    proxy.kill('SIGKILL');
    await ended;
  });
  return urls;
}

/** Reads and writes with consistency tokens until it is stopped. @returns what went wrong, and how many requests were sent */
function startReaders(url: string, users: readonly string[]) {
  const problems = new Map<string, number>();
  let requests = 0;
  let stopped = false;
  const send = async (query: string, variables: Record<string, unknown>, token: string | null) => {
    requests += 1;
    const response = await fetch(`${url}/graphql`, {
      method: 'POST',
      // The name that clients of the earlier release send.
      headers: { 'content-type': 'application/json', ...(token && { 'x-session-token': token }) },
      body: JSON.stringify({ query, variables }),
      signal: AbortSignal.timeout(20_000),
    });
    const text = await response.text();
    if (response.status !== 200 || /"errors":/.test(text)) throw new Error(`${response.status} ${text.slice(0, 400)}`);
    return { data: JSON.parse(text).data, token: response.headers.get('x-session-token') ?? token };
  };
  const reader = async (userId: string) => {
    let token: string | null = null;
    let last: { key: string; name: string } | null = null;
    for (let round = 0; !stopped; round++) {
      try {
        const name = `${userId} ${round}`;
        const update = 'mutation ($id: ID!, $name: String!) { updateUser(id: $id, input: { name: $name }) { id } }';
        ({ token } = await send(update, { id: userId, name }, token));
        const deposit =
          'mutation ($id: ID!, $key: ID!) { deposit(userId: $id, amount: "1.00", idempotencyKey: $key) { balance { amount } } }';
        const key = `${userId}-${round}`;
        ({ token } = await send(deposit, { id: userId, key }, token));
        // A client that repeats what was answered, perhaps by the other release.
        if (last) ({ token } = await send(deposit, { id: userId, key: last.key }, token));
        last = { key, name };
        const query =
          'query ($id: ID!) { user(id: $id) { name orders(first: 3) { nodes { id customer { name } } } } products(first: 3) { nodes { id name stock { onHand } } } }';
        const { data } = await send(query, { id: userId }, token);
        if (data.user.name !== name) throw new Error(`${name} was written, and ${data.user.name} read with the token.`);
      } catch (error) {
        problems.set(String(error), (problems.get(String(error)) ?? 0) + 1);
        await sleep(50);
      }
    }
  };
  const ended = Promise.all(users.map(reader));
  return {
    problems,
    async stop() {
      stopped = true;
      await ended;
      return requests;
    },
  };
}

test('processes of an earlier release are replaced under load, and no request or event is lost', {
  timeout: 180_000,
}, async ({ skip }) => {
  if (release === null) return skip('the history of the project is not there');
  const haveProxy = process.platform === 'linux' && spawnSync('haproxy', ['-v']).status === 0;
  if (!haveProxy) expect(inject('requireServices'), 'haproxy is required here and was not found').toBe(false);
  if (!(haveProxy && haveNats() && haveRedis())) return skip('haproxy, nats-server or redis-server is not installed');
  const stack = await startStack(release);
  const { url, databases } = stack;
  const query = <Row>(service: ServiceName, sql: string, values?: unknown[]) =>
    databases.query(service, sql, values) as Promise<Row[]>;
  const ids = async (service: 'users' | 'products', limit: number) =>
    (await query<{ id: string }>(service, `select id from ${service} order by id limit ${limit}`)).map(({ id }) => id);
  const [users, products] = [await ids('users', 30), await ids('products', 40)];
  const [readers, customers] = [users.slice(0, 2), users.slice(2)];
  const clients = new OrderClients({ gateways: [url], customers, products }, SEED);
  const fill =
    'mutation ($id: ID!, $key: ID!) { deposit(userId: $id, amount: "500000.00", idempotencyKey: $key) { balance { amount } } }';
  const restock = 'mutation ($id: ID!, $key: ID!) { restock(id: $id, quantity: 10000, idempotencyKey: $key) { id } }';
  await Promise.all([
    ...customers.map((id) => clients.command(fill, { id, key: `fill-${id}` })),
    ...products.map((id) => clients.command(restock, { id, key: `fill-${id}` })),
  ]);

  const placing = clients.run(Number.POSITIVE_INFINITY, CLIENTS, 100);
  const reading = startReaders(url, readers);
  try {
    await until(
      async () => clients.done,
      (orders) => orders >= 10,
    );
    for (const role of ROLES) {
      if (role === 'gateway') expect(Number(await stack.redis.command('dbsize'))).toBeGreaterThan(0);
      await Promise.race([stack.replace(role), placing]);
    }
    // A set-up after the roll-out removes what only the earlier release needs, also under load.
    const kept = () =>
      Promise.all(
        SERVICES.map((name) => databases.query(name, "select to_regprocedure('end_compatibility()') as kept")),
      );
    expect((await kept()).flat().every(({ kept }) => kept !== null)).toBe(true);
    // Until then a key that another account used is refused, as the earlier release does.
    const reuse = () => ask(url, fill, { id: readers[0], key: `fill-${customers[0]}` });
    expect((await reuse()).errors?.[0]?.extensions).toMatchObject({
      code: 'CONFLICT',
      reason: 'IDEMPOTENCY_KEY_REUSED',
    });
    for (const name of SERVICES) await stack.setUpAgain(name);
    expect((await kept()).flat()).toEqual(SERVICES.map(() => ({ kept: null })));
    expect((await reuse()).errors).toBeUndefined();
    const done = clients.done;
    await until(
      async () => clients.done,
      (orders) => orders >= done + 10,
    );
  } finally {
    clients.stop();
    await reading.stop();
  }
  await placing;
  expect({ orders: [...clients.errors], reads: [...reading.problems] }, stack.logs.join('\n').slice(-4000)).toEqual({
    orders: [],
    reads: [],
  });
  await until(
    () => unsettled(databases.query),
    (left) => left === 0,
    30_000,
  );
  const repeated = clients.orders.find(({ seen }) => seen === 'CONFIRMED');
  expect(repeated).toBeDefined();
  // What gateways of either release cached is what the owners say.
  const everything =
    '{ users(first: 30) { nodes { id name email } } products(first: 40) { nodes { id name price { amount } stock { onHand } } } }';
  const cached = await ask(url, everything);
  expect(cached.errors).toBeUndefined();
  expect(cached.data).toEqual((await ask(url, everything, {}, { 'x-max-staleness': '0' })).data);
  await expectOrdersInOrder({ query, gateways: [url], urls: stack.urls, databaseUrls: databases.urls }, clients.orders);
});

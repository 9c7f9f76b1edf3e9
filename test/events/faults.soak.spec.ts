import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@tributary/cli';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { ask } from '../harness/graphql-client.ts';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { openOrdersAdmin } from '../harness/orders-admin.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';

// Real processes on real NATS and PostgreSQL, killed with -9 while changes pour in. `npm run soak -- copies` is
// the long run.
const CHANGES = Number(process.env.FAULT_CHANGES ?? 1500);
const SEED = Number(process.env.FAULT_SEED ?? 14);
const CLIENTS = 8;
/** The average number of changes between kills. */
const CHANGES_PER_KILL = Math.max(100, Math.floor(CHANGES / 60));

/** Node options that set a process's clock back by an hour. */
const HOUR_BEHIND = `--import=data:text/javascript,${encodeURIComponent(`
  const Real = Date;
  const behind = 3600000;
  globalThis.Date = class extends Real {
    constructor(...given) { given.length === 0 ? super(Real.now() - behind) : super(...given); }
    static now() { return Real.now() - behind; }
  };
`)}`;

let databases: TestDatabases;
let nats: TestNats | undefined;
const parts = new Map<string, { start: () => RunningProgram; running: RunningProgram | null }>();

beforeAll(async () => {
  if (!haveNats()) return;
  databases = await cloneDatabases();
  nats = await startNats();
});
afterAll(async () => {
  for (const { running } of parts.values()) {
    running?.kill('SIGKILL');
    await running?.ended;
  }
  await nats?.remove();
  await databases?.drop();
});

test(`after ${CHANGES} random changes under random kills (seed ${SEED}) every copy equals its owner, and each effect happened once`, {
  timeout: 60_000 + CHANGES * 40,
}, async ({ skip }) => {
  if (!nats) return skip('nats-server is not installed');
  const random = new Random(SEED);
  const ports = {
    usersA: await freePort(),
    usersB: await freePort(),
    products: await freePort(),
    orders: await freePort(),
  };
  const url = (part: keyof typeof ports) => `http://localhost:${ports[part]}`;
  const common = { ORDERS_URL: url('orders'), NATS_URL: nats.url, LOG_LEVEL: 'error', EVENT_POLL_INTERVAL: '500ms' };
  const part = (name: string, entry: string, env: NodeJS.ProcessEnv) =>
    parts.set(name, { start: () => runProgram(entry, [], { ...common, ...env }), running: null });
  // Two processes of users: two relays, of which one leads. The clock of one goes an hour behind.
  part('usersA', 'subgraphs/users/dist/main.js', {
    USERS_PORT: `${ports.usersA}`,
    USERS_DATABASE_URL: databases.urls.users,
  });
  part('usersB', 'subgraphs/users/dist/main.js', {
    NODE_OPTIONS: HOUR_BEHIND,
    USERS_PORT: `${ports.usersB}`,
    USERS_DATABASE_URL: databases.urls.users,
  });
  part('products', 'subgraphs/products/dist/main.js', {
    PRODUCTS_PORT: `${ports.products}`,
    PRODUCTS_DATABASE_URL: databases.urls.products,
  });
  part('orders', 'subgraphs/orders/dist/main.js', {
    ORDERS_PORT: `${ports.orders}`,
    ORDERS_DATABASE_URL: databases.urls.orders,
    USERS_URL: url('usersA'),
    PRODUCTS_URL: url('products'),
  });
  for (const each of parts.values()) each.running = each.start();
  const ready = (name: keyof typeof ports) =>
    until(
      () =>
        fetch(`${url(name)}/health/ready`).then(
          (response) => response.status,
          () => 0,
        ),
      (status) => status === 200,
      30_000,
    );
  await Promise.all((Object.keys(ports) as (keyof typeof ports)[]).map(ready));

  const users = (await databases.query('users', 'select id from users order by id limit 60')).map(
    ({ id }) => id as string,
  );
  const products = (await databases.query('products', 'select id from products order by id limit 60')).map(
    ({ id }) => id as string,
  );
  const deposited = new Map<string, number>();
  let done = 0;
  /** Sends a command until a service answers; a command that may be repeated is the same each time. */
  const insist = async (services: (keyof typeof ports)[], query: string) => {
    for (let attempt = 0; ; attempt++) {
      const answer = await ask(url(services[attempt % services.length] as keyof typeof ports), query).catch(() => null);
      if (answer?.data && !answer.errors) return;
      const code = answer?.errors?.[0]?.extensions.code;
      if (code === 'CONFLICT') return;
      await sleep(20);
    }
  };
  const change = async (n: number) => {
    const kind = random.next();
    const user = random.pick(users);
    const instances: (keyof typeof ports)[] = random.next() < 0.5 ? ['usersA', 'usersB'] : ['usersB', 'usersA'];
    if (kind < 0.45)
      await insist(instances, `mutation { updateUser(id: "${user}", input: { name: "Name ${n}" }) { id } }`);
    else if (kind < 0.75) {
      await insist(
        instances,
        `mutation { deposit(userId: "${user}", amount: "1", idempotencyKey: "change-${n}") { balance { amount } } }`,
      );
      deposited.set(user, (deposited.get(user) ?? 0) + 1);
    } else if (kind < 0.99)
      await insist(
        ['products'],
        `mutation { updateProduct(id: "${random.pick(products)}", input: { name: "Name ${n}" }) { id } }`,
      );
    else
      await insist(
        instances,
        `mutation { registerUser(input: { name: "New ${n}", email: "new${n}@fault.test" }) { id } }`,
      );
    done += 1;
  };

  let kills = 0;
  const killer = (async () => {
    for (;;) {
      const next = (kills + 1) * CHANGES_PER_KILL;
      if (next >= CHANGES) return;
      await until(
        async () => done,
        (count) => count >= next,
        120_000,
      );
      kills += 1;
      const victim = random.pick([...parts.keys(), 'nats']);
      if (victim === 'nats') {
        await nats?.kill();
        if (random.next() < 0.3) nats?.loseDisk();
        await sleep(random.below(400));
        await nats?.start();
      } else {
        const killed = parts.get(victim);
        killed?.running?.kill('SIGKILL');
        await killed?.running?.ended;
        await sleep(random.below(400));
        if (killed) killed.running = killed.start();
      }
    }
  })();
  let given = 0;
  const clients = Array.from({ length: CLIENTS }, async () => {
    while (given < CHANGES) await change(given++);
  });
  await Promise.all([...clients, killer]);

  await Promise.all((Object.keys(ports) as (keyof typeof ports)[]).map(ready));
  const operations = openOrdersAdmin(databases.urls.orders, {
    USERS_URL: url('usersA'),
    PRODUCTS_URL: url('products'),
  });
  await until(
    async () => {
      const copies = (await (await fetch(`${url('orders')}/copies`)).json()) as Record<
        string,
        { position: number; lagSeconds: number }
      >;
      const [users] = await databases.query('users', 'select count(*)::int as events from outbox');
      const [products] = await databases.query('products', 'select count(*)::int as events from outbox');
      return copies.users?.position === users?.events && copies.products?.position === products?.events;
    },
    (level) => level,
    60_000,
  );
  expect((await operations.verify(false)).map(({ differences }) => differences)).toEqual([[], []]);
  expect(await operations.deadLetters()).toEqual([]);
  await operations.close();

  for (const [service, first] of [
    ['users', 1],
    ['products', 1],
  ] as const) {
    const [log] = await databases.query(
      service,
      'select count(*)::int as count, min(position)::int as first, max(position)::int as last from outbox',
    );
    expect(log).toEqual({ count: log?.last, first, last: log?.last });
  }
  for (const [user, count] of deposited) {
    const [account] = await databases.query('users', 'select balance from accounts where user_id = $1', [user]);
    expect(account?.balance).toBe(`${1000 + count}.00`);
  }
  process.stdout.write(`  ${CHANGES} changes, ${kills} kills, seed ${SEED}\n`);
});

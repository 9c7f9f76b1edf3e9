import { freePort } from '@tributary/cli';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { until } from '../harness/until.ts';

// Every part of the stack in two processes. A request may come to any of them, and the next one to the other.

let databases: TestDatabases;
let nats: TestNats | undefined;
const running = new Map<string, RunningProgram>();
let url = '';
let ordersUrl = '';

beforeAll(async () => {
  if (!haveNats()) return;
  [databases, nats] = await Promise.all([cloneDatabases(), startNats()]);
  const names = ['users', 'products', 'orders', 'gateway'] as const;
  const ports = new Map(await Promise.all(names.map(async (name) => [name, await freePort()] as const)));
  const at = (name: (typeof names)[number]) => `http://localhost:${ports.get(name)}`;
  const env = {
    PROCESSES: '2',
    NATS_URL: nats.url,
    EVENT_POLL_INTERVAL: '1h',
    USERS_URL: at('users'),
    PRODUCTS_URL: at('products'),
    ORDERS_URL: at('orders'),
    USERS_DATABASE_URL: databases.urls.users,
    PRODUCTS_DATABASE_URL: databases.urls.products,
    ORDERS_DATABASE_URL: databases.urls.orders,
    SUBGRAPHS: ['users', 'products', 'orders'].map((name) => `${name}=${at(name as 'users')}/graphql`).join(),
    ...Object.fromEntries(names.map((name) => [`${name.toUpperCase()}_PORT`, String(ports.get(name))])),
  };
  for (const name of names) {
    const entry = name === 'gateway' ? 'gateway/dist/main.js' : `subgraphs/${name}/dist/main.js`;
    running.set(name, runProgram(entry, [], env));
  }
  for (const name of names) {
    const status = () => fetch(`${at(name)}/health/ready`).then((response) => response.status, String);
    await until(status, (now) => now === 200, 60_000);
  }
  url = at('gateway');
  ordersUrl = at('orders');
}, 120_000);
afterAll(async () => {
  for (const program of running.values()) {
    program.kill('SIGTERM');
    await program.ended;
  }
  await nats?.remove();
  await databases?.drop();
});

interface Answer {
  readonly order: { readonly customer: { readonly name: string } };
  readonly user: { readonly orders: { readonly totalCount: number } };
  readonly placeOrder: { readonly number: string; readonly status: string };
}

/** Over a connection of its own, so that any process may get it. */
async function ask(query: string, variables: object, session?: string | null) {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      connection: 'close',
      ...(session && { 'x-consistency-token': session }),
    },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = (await response.json()) as { data: Answer; errors?: unknown };
  return { data, errors, session: response.headers.get('x-consistency-token') };
}

const PLACE = `mutation ($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { number status } }`;
const placeOrder = (customerId: string, key: string) =>
  ask(PLACE, { input: { customerId, items: [{ productId: 'FUR-BO-10001798', quantity: 1 }] }, key });

test.skipIf(!haveNats())(
  'a session sees its own writes, in caches and in copies, whichever processes it meets',
  async () => {
    for (let i = 0; i < 30; i++) {
      const name = `Claire the ${i}.`;
      const change = await ask(
        'mutation ($name: String!) { updateUser(id: "CG-12520", input: { name: $name }) { id } }',
        { name },
      );
      expect(change.errors).toBeUndefined();
      const read = await ask('{ order(number: "CA-2016-152156") { customer { name } } }', {}, change.session);
      expect(read.data.order.customer.name).toBe(name);
    }
  },
);

test.skipIf(!haveNats())(
  'every process reports the positions of the copies, whichever process applied the events',
  async () => {
    const change = await ask('mutation { updateUser(id: "CG-12520", input: { name: "Claire" }) { version } }', {});
    expect(change.errors).toBeUndefined();
    const copies = async () => {
      const response = await fetch(`${ordersUrl}/copies`, { headers: { connection: 'close' } });
      return ((await response.json()) as Record<string, { position: number; head: number; ageMs: number }>).users;
    };
    const all = await until(
      () => Promise.all(Array.from({ length: 8 }, copies)),
      (answers) => answers.every((users) => users && users.position === users.head && users.ageMs < 1000),
    );
    expect(new Set(all.map((users) => users?.position)).size).toBe(1);
  },
);

test.skipIf(!haveNats())('orders are placed and settled across processes, also while these are replaced', async () => {
  const before = await ask('{ user(id: "CG-12520") { orders { totalCount } } }', {});
  await ask('mutation { restock(id: "FUR-BO-10001798", quantity: 500, idempotencyKey: "plenty") { id } }', {});
  await ask('mutation { deposit(userId: "CG-12520", amount: "900000.00", idempotencyKey: "plenty") { id } }', {});
  const orders = running.get('orders') as RunningProgram;
  const place = (i: number) => placeOrder('CG-12520', `several-${i}`);
  const first = await Promise.all(Array.from({ length: 20 }, (_, i) => place(i)));
  let replaced = false;
  const replacement = orders.printed(/has replaced its processes/).then(() => {
    replaced = true;
  });
  orders.kill('SIGHUP');
  const rest: Awaited<ReturnType<typeof place>>[] = [];
  while (!replaced) rest.push(...(await Promise.all([0, 1, 2].map((i) => place(20 + rest.length + i)))));
  await replacement;
  const answers = [...first, ...rest];
  expect(answers.flatMap(({ errors }) => errors ?? [])).toEqual([]);
  const numbers = new Set(answers.map(({ data }) => data.placeOrder.number));
  expect(numbers.size).toBe(answers.length);
  const last = answers.at(-1)?.session ?? null;
  const after = await ask('{ user(id: "CG-12520") { orders { totalCount } } }', {}, last);
  expect(after.data.user.orders.totalCount - before.data.user.orders.totalCount).toBe(answers.length);
});

test.skipIf(!haveNats())('a gauge of several processes has the value of one of them, not the sum', async () => {
  const figure = (metrics: string, name: string) =>
    Number(new RegExp(`^${name}\\{source="users"[^}]*\\} (.+)$`, 'm').exec(metrics)?.[1]);
  const [metrics, copies] = await until(
    async () => {
      const text = await (await fetch(`${ordersUrl}/metrics`)).text();
      const { users } = (await (await fetch(`${ordersUrl}/copies`)).json()) as {
        users: { position: number; head: number };
      };
      return [text, users] as const;
    },
    ([text, users]) => figure(text, 'copy_lag_seconds') === 0 && users.position === users.head,
  );
  expect(copies.position).toBeGreaterThan(0);
  expect(figure(metrics, 'copy_position')).toBe(copies.position);
  expect(figure(metrics, 'copy_head')).toBe(copies.head);
});

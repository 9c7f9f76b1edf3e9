import { freePort } from '@tributary/cli';
import { connect, JSONCodec } from 'nats';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { ask } from '../harness/graphql-client.ts';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { until } from '../harness/until.ts';

// Two processes of orders on one database: one of them publishes the events. It is stopped as a machine stops that is frozen.

interface OrdersProcess {
  readonly url: string;
  readonly program: RunningProgram;
}

let databases: TestDatabases;
let nats: TestNats;
const programs: RunningProgram[] = [];
const orders: OrdersProcess[] = [];

const start = (entry: string, env: NodeJS.ProcessEnv) => {
  const program = runProgram(entry, [], { NATS_URL: nats.url, LOG_LEVEL: 'warn', ...env });
  programs.push(program);
  return program;
};
const ready = (url: string) =>
  until(
    () => fetch(`${url}/health/ready`).then((response) => response.status, String),
    (status) => status === 200,
    60_000,
  );

beforeAll(async () => {
  if (!haveNats()) return;
  [databases, nats] = await Promise.all([cloneDatabases(), startNats()]);
  const [users, products, first, second] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const at = (port: number | undefined) => `http://localhost:${port}`;
  const urls = { USERS_URL: at(users), PRODUCTS_URL: at(products), ORDERS_URL: at(second) };
  start('subgraphs/users/dist/main.js', {
    ...urls,
    USERS_PORT: String(users),
    USERS_DATABASE_URL: databases.urls.users,
  });
  start('subgraphs/products/dist/main.js', {
    ...urls,
    PRODUCTS_PORT: String(products),
    PRODUCTS_DATABASE_URL: databases.urls.products,
  });
  for (const port of [first, second]) {
    const program = start('subgraphs/orders/dist/main.js', {
      ...urls,
      ORDERS_PORT: String(port),
      ORDERS_DATABASE_URL: databases.urls.orders,
    });
    orders.push({ url: at(port), program });
    // The first of them leads.
    await ready(at(port));
  }
  await Promise.all([ready(at(users)), ready(at(products))]);
}, 120_000);
afterAll(async () => {
  for (const program of programs) {
    program.kill('SIGCONT');
    program.kill('SIGTERM');
  }
  await Promise.all(programs.map(({ ended }) => ended));
  await nats?.remove();
  await databases?.drop();
});

const isLeading = async ({ url }: OrdersProcess) =>
  /^relay_leading\{.*\} 1$/m.test(await (await fetch(`${url}/metrics`)).text());

const placeOrder = async ({ url }: OrdersProcess, key: string) => {
  const { data, errors } = await ask(
    url,
    `mutation Place($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { status } }`,
    { input: { customerId: 'CG-12520', items: [{ productId: 'FUR-BO-10001798', quantity: 1 }], waitMs: 5000 }, key },
  );
  expect(errors).toBeUndefined();
  return data.placeOrder.status as string;
};

test.skipIf(!haveNats())(
  'a leader that is stopped is replaced within 3 s; when it goes on, it does not lead and sends nothing',
  async () => {
    const [first, second] = orders as [OrdersProcess, OrdersProcess];
    await databases.query('users', "update accounts set balance = 100000 where user_id = 'CG-12520'");
    await databases.query('products', "update stock set on_hand = on_hand + 100 where product_id = 'FUR-BO-10001798'");
    expect(await placeOrder(second, 'before')).toBe('CONFIRMED');
    expect([await isLeading(first), await isLeading(second)]).toEqual([true, false]);

    const connection = await connect({ servers: nats.url });
    const received: { subject: string; term: number; position: number }[] = [];
    const codec = JSONCodec<{ term: number; position?: number; to?: number }>();
    for (const subject of ['tributary.heads.orders', 'tributary.touches.orders']) {
      connection.subscribe(subject, {
        callback: (_error, message) => {
          const { term, position, to } = codec.decode(message.data);
          received.push({ subject, term, position: position ?? to ?? 0 });
        },
      });
    }
    await until(
      async () => received.length,
      (length) => length > 0,
    );
    const term = received[0]?.term as number;

    first.program.kill('SIGSTOP');
    const stoppedAt = performance.now();
    const confirmed = placeOrder(second, 'meanwhile');
    await until(
      () => isLeading(second),
      (leads) => leads,
    );
    expect(performance.now() - stoppedAt).toBeLessThan(3000);
    expect(await confirmed).toBe('CONFIRMED');
    expect(await placeOrder(second, 'then')).toBe('CONFIRMED');

    first.program.kill('SIGCONT');
    // Repeated from its first moment: it never reports that it leads.
    const leads: boolean[] = [];
    for (let i = 0; i < 5; i++) leads.push(await isLeading(first));
    expect(leads).toEqual([false, false, false, false, false]);
    expect(await placeOrder(first, 'after')).toBe('CONFIRMED');
    const [log] = await databases.query('orders', 'select head::int from ledger');
    await until(
      async () => received.at(-1)?.position,
      (position) => position !== undefined && position >= (log?.head as number),
    );
    await connection.close();
    for (const subject of ['tributary.heads.orders', 'tributary.touches.orders']) {
      const terms = received.filter((message) => message.subject === subject).map((message) => message.term);
      expect(terms).toEqual(terms.toSorted((a, b) => a - b));
      expect(new Set(terms).size).toBe(2);
      expect(terms[0]).toBe(term);
    }
    expect(await isLeading(second)).toBe(true);
  },
  60_000,
);

import { freePort } from '@tributary/cli';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, SERVICES, type ServiceName, type TestDatabases } from '../harness/databases.ts';
import { ask } from '../harness/graphql-client.ts';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { until } from '../harness/until.ts';

// A service that restarts while another is down, each in a process of its own.

let databases: TestDatabases;
let nats: TestNats | undefined;
let ports: ReadonlyMap<ServiceName, number>;
const running = new Map<ServiceName, RunningProgram>();
beforeAll(async () => {
  databases = await cloneDatabases();
  if (haveNats()) nats = await startNats();
  ports = new Map(await Promise.all(SERVICES.map(async (name) => [name, await freePort()] as const)));
});
afterAll(async () => {
  for (const program of running.values()) {
    program.kill('SIGKILL');
    await program.ended;
  }
  await nats?.remove();
  await databases?.drop();
});

const urlOf = (name: ServiceName) => `http://localhost:${ports.get(name)}`;

function start(name: ServiceName): void {
  const program = runProgram(`subgraphs/${name}/dist/main.js`, [], {
    ...(nats && { NATS_URL: nats.url }),
    USERS_URL: urlOf('users'),
    PRODUCTS_URL: urlOf('products'),
    ORDERS_URL: urlOf('orders'),
    [`${name.toUpperCase()}_PORT`]: String(ports.get(name)),
    [`${name.toUpperCase()}_DATABASE_URL`]: databases.urls[name],
  });
  running.set(name, program);
}

/** @returns how it ended, and after how many milliseconds */
async function end(name: ServiceName, signal: NodeJS.Signals) {
  const program = running.get(name) as RunningProgram;
  const startedAt = performance.now();
  program.kill(signal);
  const how = await program.ended;
  return { how, afterMs: performance.now() - startedAt };
}

interface Health {
  readonly code: number;
  readonly status?: string;
  readonly degraded?: Readonly<Record<string, string>>;
  readonly notReady?: Readonly<Record<string, string>>;
}

const health = async (name: ServiceName): Promise<Health> => {
  const response = await fetch(`${urlOf(name)}/health/ready`).catch(() => null);
  return { code: response?.status ?? 0, ...((await response?.json()) as object) };
};

/** Starts a service, and waits until it answers. */
const startAndWait = async (name: ServiceName) => {
  start(name);
  await until(
    () => health(name),
    ({ code }) => code !== 0,
    60_000,
  );
};

const place = (idempotencyKey: string, waitMs: number) =>
  ask(
    urlOf('orders'),
    `mutation PlaceOrder($input: PlaceOrderInput!, $idempotencyKey: ID!) {
       placeOrder(input: $input, idempotencyKey: $idempotencyKey) { id status }
     }`,
    {
      input: { customerId: 'CG-12520', items: [{ productId: 'FUR-BO-10001798', quantity: 1 }], waitMs },
      idempotencyKey,
    },
  );

test('an outage of products stays where it is when orders restarts', async () => {
  // Copies that were never in sync may have holes.
  await startAndWait('users');
  await startAndWait('orders');
  const waiting = await until(
    () => health('orders'),
    ({ notReady }) => notReady?.['copy of products']?.includes('cannot be reached') === true,
  );
  expect(waiting.code).toBe(503);
  expect(waiting.notReady?.['copy of products']).toMatch(/^has not been in sync with products yet/);
  await startAndWait('products');
  await until(
    () => health('orders'),
    ({ status }) => status === 'ready',
  );

  await end('products', 'SIGKILL');
  expect((await end('orders', 'SIGTERM')).how).toBe(0);
  start('orders');
  // From the first answer on it may be asked.
  const first = await until(
    () => health('orders'),
    ({ code }) => code !== 0,
    60_000,
  );
  expect(first.code).toBe(200);
  const degraded = await until(
    () => health('orders'),
    ({ degraded }) => degraded?.['copy of products']?.includes('cannot be reached') === true,
  );
  expect(degraded).toMatchObject({ code: 200, status: 'degraded' });
  expect(degraded.degraded?.['copy of products']).toMatch(
    /^has not reached products for \d+ s; answers show it as of 20\S+Z: http:\S+ cannot be reached: ECONNREFUSED$/,
  );
  const shown = await ask(
    urlOf('orders'),
    'query Shown($number: String!) { order(number: $number) { items { product { name } } customer { name } } }',
    { number: 'CA-2016-152156' },
  );
  expect(shown.data.order.items).toHaveLength(2);
  expect(shown.data.order.customer).toEqual({ name: 'Claire Gute' });
  const placed = await place('while products is down', 0);
  expect(placed).toMatchObject({ data: { placeOrder: { status: 'PENDING' } } });

  await startAndWait('products');
  await until(
    () => health('orders'),
    ({ status }) => status === 'ready',
    10_000,
  );
  await until(
    () => place('while products is down', 2000),
    ({ data }) => data.placeOrder.status === 'CONFIRMED',
  );
  expect(
    running
      .get('orders')
      ?.output()
      .match(/the event log cannot be read/g),
  ).toHaveLength(1);
  expect(
    running
      .get('orders')
      ?.output()
      .match(/the event log can be read again/g),
  ).toHaveLength(1);

  // It ends in time although an owner hangs and it has much to read.
  await databases.query(
    'users',
    `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
     select gen_random_uuid(), 'UserUpdated', 1, 'User', 'CG-12520', 1000 + n, now(), '{"name": "Claire", "email": "claire@c.test"}'
     from generate_series(1, 20000) as n`,
  );
  running.get('products')?.kill('SIGSTOP');
  await until(
    async () => ((await (await fetch(`${urlOf('orders')}/copies`)).json()) as { users: { position: number } }).users,
    ({ position }) => position > 2000,
  );
  const ending = await end('orders', 'SIGTERM');
  expect(ending.how).toBe(0);
  expect(ending.afterMs).toBeLessThan(5000);
}, 120_000);

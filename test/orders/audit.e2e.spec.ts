import { randomUUID } from 'node:crypto';
import { freePort } from '@tributary/cli';
import { eventLogClient, IncompleteAuditError } from '@tributary/events';
import type { OrdersAdmin } from '@tributary/orders';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SERVICES, type ServiceName } from '../harness/databases.ts';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { openOrdersAdmin } from '../harness/orders-admin.ts';
import { runProgram } from '../harness/process.ts';
import { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';

let graph: TestGraph;
let operations: OrdersAdmin;
let customer: string;
let lamp: string;
beforeAll(async () => {
  graph = await startGraph();
  operations = openOrdersAdmin(graph.databases.urls.orders, {
    USERS_URL: graph.urls.users,
    PRODUCTS_URL: graph.urls.products,
  });
  const { data } = await graph.ask(
    `mutation Make($email: String!, $input: CreateProductInput!) {
      registerUser(input: { name: "Ada", email: $email }) { id }
      createProduct(input: $input) { id }
    }`,
    {
      email: `${randomUUID()}@example.org`,
      input: {
        sku: randomUUID(),
        name: 'A lamp',
        category: 'Furniture',
        subCategory: 'Lamps',
        price: '10',
        onHand: 9999,
      },
    },
  );
  [customer, lamp] = [data.registerUser.id, data.createProduct.id];
  await graph.ask(
    'mutation Deposit($id: ID!) { deposit(userId: $id, amount: "100000", idempotencyKey: "audit") { balance { amount } } }',
    { id: customer },
  );
});
afterAll(async () => {
  await operations?.close();
  await graph?.stop();
});

async function place(quantity = 1, waitMs = 4000): Promise<{ id: string; status: string }> {
  const { data } = await graph.ask(
    'mutation Place($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { id status } }',
    { input: { customerId: customer, items: [{ productId: lamp, quantity }], waitMs }, key: randomUUID() },
  );
  return data.placeOrder;
}

const cancel = (id: string) =>
  graph.ask('mutation Cancel($id: ID!) { cancelOrder(id: $id, reason: "no") { status } }', { id });

const sql = (service: ServiceName, statement: string, values: unknown[] = []) =>
  graph.databases.query(service, statement, values);

/** What the audit finds, without the words. */
const found = async () => (await operations.audit()).map(({ service, check, id }) => `${service}: ${check}: ${id}`);

/** Runs `tributary verify` beside the graph. */
const verify = (...args: string[]) => verifyWith({}, ...args);

/** The same, with other settings. */
async function verifyWith(changed: NodeJS.ProcessEnv, ...args: string[]) {
  const env = Object.fromEntries(
    SERVICES.flatMap((name) => [
      [`${name.toUpperCase()}_URL`, graph.urls[name]],
      [`${name.toUpperCase()}_DATABASE_URL`, graph.databases.urls[name]],
    ]),
  );
  const program = runProgram('cli/bin/tributary.mjs', ['verify', ...args], { ...env, ...changed });
  const status = await program.ended;
  return { status, output: program.output() };
}

test('the import, orders of every outcome, and imported orders that were cancelled add up', async () => {
  expect((await place(2)).status).toBe('CONFIRMED');
  expect((await place(10_000)).status).toBe('REJECTED');
  await cancel((await place(3)).id);
  await cancel('CA-2016-152156');
  expect(await operations.audit()).toEqual([]);
  const { status, output } = await verify();
  expect(output).toMatch(/Money and stock agree\.\n$/);
  expect(status).toBe(0);
});

test('an audit finds nothing in orders in progress (random orders and cancellations, seed 14)', async () => {
  const random = new Random(14);
  let going = true;
  const clients = Array.from({ length: 4 }, async () => {
    while (going) {
      const { id } = await place(1 + random.below(3), random.pick([0, 5, 50]));
      if (random.below(2) === 0) await cancel(id);
    }
  });
  const findings = [await operations.audit(), await operations.audit(), await operations.audit()];
  going = false;
  await Promise.all(clients);
  expect(findings).toEqual([[], [], []]);
  await until(
    () => sql('orders', 'select from placement_sagas where finished_at is null'),
    (open) => open.length === 0,
  );
  expect(await operations.audit()).toEqual([]);
});

test('a service audits by itself, and reports what it found last', async () => {
  const scheduled = await startGraph({ ordersEnv: { VERIFY_INTERVAL: '50ms' } });
  try {
    const findings = async () =>
      /^audit_findings\{.*\} (\d+)/m.exec(await (await fetch(`${scheduled.urls.orders}/metrics`)).text())?.[1];
    await scheduled.databases.query('users', "update accounts set balance = balance + 1 where user_id = 'AA-10315'");
    await until(findings, (count) => count === '1');
    await scheduled.databases.query('users', "update accounts set balance = balance - 1 where user_id = 'AA-10315'");
    await until(findings, (count) => count === '0');
  } finally {
    await scheduled.stop();
  }
});

/** Locks a table against all reads, until the function that it returns is called. */
async function hold(databaseUrl: string, table: string): Promise<() => Promise<void>> {
  const client = new pg.Client(databaseUrl);
  await client.connect();
  await client.query(`begin; lock table ${table} in access exclusive mode`);
  return () => client.end();
}

/** Waits until `count` statements wait for the table. @returns the sessions that they run in */
const waitingFor = (service: ServiceName, table: string, count: number, databases = graph.databases) =>
  until(
    () =>
      databases.query(
        service,
        `select application_name from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and query like '%' || $1 || '%'`,
        [table],
      ),
    (rows) => rows.length >= count,
  );

describe('comparing with large tables', () => {
  test('checksums and ranges have more than the ten seconds of other statements; a look-up by ids does not', async () => {
    const eventLog = eventLogClient(graph.urls.users, undefined);
    const release = await hold(graph.databases.urls.users, 'users');
    try {
      const checksums = eventLog.rangeChecksums('User');
      const range = eventLog.aggregates('User', 7);
      const byIds = eventLog.aggregatesById('User', ['CG-12520']);
      const all = Promise.allSettled([checksums, range, byIds]);
      const sessions = await waitingFor('users', 'user_states', 3);
      expect(sessions.map(({ application_name: name }) => name).sort()).toEqual([
        'tributary-audit',
        'tributary-audit',
        'tributary-users-events',
      ]);
      // Longer than a statement of the pools may take.
      const [failed] = await Promise.allSettled([byIds]);
      expect(failed.status).toBe('rejected');
      await release();
      const [first, second] = await all;
      expect(first).toMatchObject({
        status: 'fulfilled',
        value: expect.arrayContaining([{ range: 7, count: expect.any(Number), checksum: expect.any(String) }]),
      });
      expect(second).toMatchObject({ status: 'fulfilled' });
    } finally {
      await release().catch(() => undefined);
    }
  });

  test('`tributary verify` prints what it has found when a part fails, names the part in a line, and fails', async () => {
    const { id } = await place(2);
    await sql('orders', 'update orders_read set total = 19.99 where id = $1', [id]);
    await sql('products', 'alter table reservations rename to reservations_away');
    try {
      const plain = await verify();
      expect(plain.output).toMatch(/^copy +differences.*\nusers +0.*\nproducts +0/m);
      expect(plain.output).toContain(`payments against orders  ${id}`);
      expect(plain.output).toMatch(
        /^money and stock could not be checked in full: reservations against orders: .*OrderStock answered 500\.$/m,
      );
      expect(plain.output).not.toMatch(/^ +at /m);
      expect(plain.status).toBe(1);
      const failed = await operations.audit().catch((error: unknown) => error);
      expect(failed).toBeInstanceOf(IncompleteAuditError);
      expect(failed).toMatchObject({
        findings: [{ check: 'payments against orders', id }],
        failures: [
          expect.stringMatching(/^the checks of products: /),
          expect.stringMatching(/^reservations against orders: /),
        ],
      });
    } finally {
      await sql('products', 'alter table reservations_away rename to reservations');
      await sql('orders', 'update orders_read set total = 20.00 where id = $1', [id]);
    }
  });

  test('`tributary verify` compares the other copies when an owner does not answer', async () => {
    const port = await freePort();
    const { status, output } = await verifyWith({ USERS_URL: `http://127.0.0.1:${port}` });
    expect(output).toMatch(/^products +0/m);
    expect(output).toMatch(/^the copy of users could not be compared: .*ECONNREFUSED/m);
    expect(output).toMatch(/^money and stock could not be checked in full: the checks of users: .*ECONNREFUSED/m);
    expect(output).not.toMatch(/^ +at /m);
    expect(status).toBe(1);
  });

  test('a service that audits at intervals reports that a part failed', async () => {
    const scheduled = await startGraph({ ordersEnv: { VERIFY_INTERVAL: '50ms' } });
    const metric = async (name: string) =>
      new RegExp(`^${name}\\{.*\\} (\\d+)`, 'm').exec(
        await (await fetch(`${scheduled.urls.orders}/metrics`)).text(),
      )?.[1];
    const rename = (from: string, to: string) =>
      scheduled.databases.query('products', `alter table ${from} rename to ${to}`);
    try {
      await rename('reservations', 'away');
      await until(
        () => metric('audit_failed'),
        (value) => value === '1',
      );
      await rename('away', 'reservations');
      await until(
        () => metric('audit_failed'),
        (value) => value === '0',
      );
    } finally {
      await scheduled.stop();
    }
  });

  test.each([
    ['a comparison of copies', 'orders', 'users_copy', 'users_copy_checksums'],
    ["a comparison of orders with another service's data", 'orders', 'order_items_read', 'order_items_read as items'],
  ] as const)('a service that stops does not wait for %s', async (_what, service, table, statement) => {
    const scheduled = await startGraph({ ordersEnv: { VERIFY_INTERVAL: '50ms' } });
    const release = await hold(scheduled.databases.urls[service], table);
    try {
      await waitingFor(service, statement, 1, scheduled.databases);
      const started = performance.now();
      await scheduled.services.orders.close();
      expect(performance.now() - started).toBeLessThan(3000);
    } finally {
      await release();
      await scheduled.stop();
    }
  });
});

test('orders in progress do not hide later findings', async () => {
  const { id } = await place(1);
  await sql('orders', 'update orders_read set total = 19.99 where id = $1', [id]);
  // Confirmed as far as the read model says, their sagas not over: each differs from its owner, and all are before the order.
  await sql(
    'orders',
    `with orders as (
       insert into orders_read select new.* from orders_read as model, generate_series(1, 1100) as n,
         jsonb_populate_record(model, jsonb_build_object('id', ' in progress ' || n, 'number', 'UW-' || n)) as new
       where model.id = $1 returning id
     )
     insert into placement_sagas select new.* from placement_sagas as model, orders,
       jsonb_populate_record(model, jsonb_build_object(
         'order_id', orders.id, 'idempotency_key', orders.id, 'finished_at', null, 'due_at', null)) as new
     where model.order_id = $1`,
    [id],
  );
  try {
    expect((await operations.audit()).filter(({ service }) => service === 'users')).toMatchObject([
      { check: 'payments against orders', id },
    ]);
  } finally {
    await sql('orders', "delete from placement_sagas where order_id like ' in progress %'");
    await sql('orders', "delete from orders_read where id like ' in progress %'");
    await sql('orders', 'update orders_read set total = 10.00 where id = $1', [id]);
  }
});

test('without the secret of the services, a client cannot run an audit or read aggregates', async () => {
  const INTERNAL_SECRET = 'a secret of sixteen characters';
  const env = { INTERNAL_SECRET };
  const guarded = await startGraph({ usersEnv: env, ordersEnv: env, productsEnv: env });
  try {
    const ask = (path: string, init: RequestInit = {}) => fetch(`${guarded.urls.users}${path}`, init);
    expect((await ask('/audit')).status).toBe(403);
    const lookUp = { method: 'POST', body: '{"ids":["CG-12520"]}', headers: { 'content-type': 'application/json' } };
    expect((await ask('/aggregates/User', lookUp)).status).toBe(403);
    const headers = { ...lookUp.headers, authorization: `Bearer ${INTERNAL_SECRET}` };
    const found = await ask('/aggregates/User', { ...lookUp, headers });
    expect(await found.json()).toMatchObject([{ id: 'CG-12520', data: { name: 'Claire Gute' } }]);
    expect((await ask('/aggregates/User', { ...lookUp, headers, body: '{"ids":3}' })).status).toBe(400);
    expect(await (await ask('/audit', { headers })).json()).toEqual([]);
  } finally {
    await guarded.stop();
  }
});

describe('the audit finds', () => {
  let order: string;
  beforeAll(async () => {
    order = (await place(2)).id;
  });

  /** Changes a row, looks, and changes it back. */
  async function damaged(service: ServiceName, damage: string, repair: string, values: unknown[] = []) {
    await sql(service, damage, values);
    try {
      return await found();
    } finally {
      await sql(service, repair, values);
    }
  }

  test('a balance that its entries do not make', async () => {
    expect(
      await damaged(
        'users',
        "update accounts set balance = balance + 1 where user_id = 'AA-10315'",
        "update accounts set balance = balance - 1 where user_id = 'AA-10315'",
      ),
    ).toEqual(['users: accounts against entries: AA-10315']);
  });

  test('a charge that is gone', async () => {
    await sql('users', 'create table gone as select * from account_entries where order_id = $1', [order]);
    expect(
      await damaged(
        'users',
        'delete from account_entries where id in (select id from gone)',
        'insert into account_entries overriding system value select * from gone',
      ),
    ).toEqual([
      `users: accounts against entries: ${customer}`,
      `users: payments against entries: ${order}`,
      `users: payments against orders: ${order}`,
    ]);
  });

  test('an order that costs what was not charged', async () => {
    await sql('orders', 'update orders_read set total = 19.99 where id = $1', [order]);
    expect(await operations.audit()).toEqual([
      {
        service: 'users',
        check: 'payments against orders',
        id: order,
        problem: `the order is CONFIRMED, so users should have 19.99 charged to user ${customer} for it; it has 20.00 charged to user ${customer}`,
      },
    ]);
    await sql('orders', 'update orders_read set total = 20.00 where id = $1', [order]);
  });

  test('a refund that was not made', async () => {
    const { id } = await place(1);
    await cancel(id);
    await sql('users', 'create table refund as select * from account_entries where order_id = $1 and amount > 0', [id]);
    expect(
      await damaged(
        'users',
        `delete from account_entries where id in (select id from refund);
         update accounts set balance = balance - 10 where user_id in (select user_id from refund)`,
        `insert into account_entries overriding system value select * from refund;
         update accounts set balance = balance + 10 where user_id in (select user_id from refund)`,
      ),
    ).toEqual([`users: payments against entries: ${id}`, `users: payments against orders: ${id}`]);
  });

  test('a charge for an order that is not there', async () => {
    expect(
      await damaged(
        'users',
        `insert into payments (order_id, user_id, amount, status, version) values ('ghost', 'AA-10315', 5, 'CHARGED', 1);
         insert into account_entries (user_id, amount, reason, order_id, idempotency_key)
         values ('AA-10315', -5, 'charge', 'ghost', 'charge:ghost');
         update accounts set balance = balance - 5 where user_id = 'AA-10315'`,
        `delete from payments where order_id = 'ghost'; delete from account_entries where order_id = 'ghost';
         update accounts set balance = balance + 5 where user_id = 'AA-10315'`,
      ),
    ).toEqual(['users: payments against orders: ghost']);
  });

  test('reserved units without a reservation, and units that were never received', async () => {
    expect(
      await damaged(
        'products',
        "update stock set reserved = reserved + 1, on_hand = on_hand + 1 where product_id = 'FUR-BO-10001798'",
        "update stock set reserved = reserved - 1, on_hand = on_hand - 1 where product_id = 'FUR-BO-10001798'",
      ),
    ).toEqual([
      'products: stock against reservations: FUR-BO-10001798',
      'products: stock against receipts: FUR-BO-10001798',
    ]);
  });

  test('a confirmed order whose units were released', async () => {
    expect(
      await damaged(
        'products',
        "update reservations set status = 'RELEASED' where order_id = $1",
        "update reservations set status = 'COMMITTED' where order_id = $1",
        [order],
      ),
    ).toEqual([`products: stock against reservations: ${lamp}`, `products: reservations against orders: ${order}`]);
  });

  test.each([
    ['users', 'RefundPayment', 'Placement'],
    ['products', 'ReserveStock', 'Placement'],
    ['orders', 'PaymentRefunded', 'Payment'],
  ] as const)('a dead letter of %s', async (service, type, aggregateType) => {
    expect(
      await damaged(
        service,
        `insert into dead_letters (consumer, source, position, aggregate_type, aggregate_id, event, error, attempts)
         values ('${service}', 'test', 1, '${aggregateType}', $1, '{"type": "${type}"}', 'duplicate key', 1)`,
        "delete from dead_letters where source = 'test' and aggregate_id = $1",
        [order],
      ),
    ).toEqual([`${service}: dead letters: ${order}`]);
  });

  test('a saga that waits for an operator, and one that does not fit its order', async () => {
    const set = (status: string) =>
      sql('orders', `update placement_sagas set status = '${status}' where order_id = $1`, [order]);
    await set('FAILED');
    expect(await found()).toEqual([`orders: sagas: ${order}`]);
    await set('COMPENSATED');
    expect(await found()).toEqual([`orders: sagas: ${order}`]);
    await set('COMPLETED');
    expect(await found()).toEqual([]);
  });

  test('and `tributary verify` prints it, and fails', async () => {
    await sql('users', "update accounts set balance = balance + 1 where user_id = 'AA-10315'");
    const plain = await verify();
    const json = await verify('--json');
    await sql('users', "update accounts set balance = balance - 1 where user_id = 'AA-10315'");
    expect(plain.output).toMatch(
      /users +accounts against entries +AA-10315 +the balance is [\d.]+, and the entries add up to [\d.]+\n/,
    );
    expect(plain.status).toBe(1);
    expect(JSON.parse(json.output).at(-1)).toMatchObject({
      check: 'money and stock',
      findings: [{ service: 'users', check: 'accounts against entries', id: 'AA-10315' }],
    });
    expect(json.status).toBe(1);
  });
});

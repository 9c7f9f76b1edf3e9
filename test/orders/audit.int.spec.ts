import { randomUUID } from 'node:crypto';
import { OrdersOperations } from '@tributary/orders/operations';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SERVICES, type ServiceName } from '../harness/databases.ts';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { runProgram } from '../harness/process.ts';
import { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';

let graph: TestGraph;
let operations: OrdersOperations;
let customer: string;
let lamp: string;
beforeAll(async () => {
  graph = await startGraph();
  operations = new OrdersOperations(graph.databases.urls.orders, {
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
async function verify(...args: string[]) {
  const env = Object.fromEntries(
    SERVICES.flatMap((name) => [
      [`${name.toUpperCase()}_URL`, graph.urls[name]],
      [`${name.toUpperCase()}_DATABASE_URL`, graph.databases.urls[name]],
    ]),
  );
  const program = runProgram('cli/dist/main.js', ['verify', ...args], env);
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

test('what is under way is no fault (random orders and cancellations, seed 14)', async () => {
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

test('a stranger cannot ask for an audit, nor look up aggregates, where there is a secret', async () => {
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

  test('reserved pieces that nobody reserved, and pieces that were never received', async () => {
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

  test('a confirmed order whose pieces were released', async () => {
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

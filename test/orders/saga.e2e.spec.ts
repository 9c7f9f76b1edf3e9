import { randomUUID } from 'node:crypto';
import { ConsumerOperations } from '@tributary/events';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { openOrdersAdmin } from '../harness/orders-admin.ts';
import { runProgram } from '../harness/process.ts';
import { until } from '../harness/until.ts';

let graph: TestGraph;
beforeAll(async () => {
  // Steps are given up soon here, and what is held for long is released soon.
  graph = await startGraph({ ordersEnv: { SAGA_STEP_TIMEOUT: '5ms' }, productsEnv: { RESERVATION_TTL: '1s' } });
});
afterAll(() => graph?.stop());

const held: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const release of held.splice(0)) await release();
});

/** Keeps a service from taking any event of orders, until it is released: as if it were down. */
async function hold(service: 'users' | 'products'): Promise<() => Promise<void>> {
  const client = new pg.Client(graph.databases.urls[service]);
  await client.connect();
  await client.query("begin; select from consumer_positions where source = 'orders' for update");
  let open = true;
  const release = async () => {
    if (open) await client.end();
    open = false;
  };
  held.push(release);
  return release;
}

async function startOrder(quantity = 1): Promise<{ id: string; customer: string; product: string }> {
  const { data } = await graph.ask(
    `mutation ($email: String!, $sku: String!) {
      registerUser(input: { name: "Ada", email: $email }) { id }
      createProduct(input: { sku: $sku, name: "A lamp", category: "Furniture", subCategory: "Lamps", price: "10.00", onHand: 5 }) { id }
    }`,
    { email: `${randomUUID()}@example.org`, sku: randomUUID() },
  );
  const [customer, product] = [data.registerUser.id, data.createProduct.id];
  await graph.ask(
    `mutation ($id: ID!, $key: ID!) { deposit(userId: $id, amount: "100", idempotencyKey: $key) { balance { amount } } }`,
    {
      id: customer,
      key: randomUUID(),
    },
  );
  const placed = await graph.ask(
    'mutation ($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { id } }',
    { input: { customerId: customer, items: [{ productId: product, quantity }], waitMs: 0 }, key: randomUUID() },
  );
  return { id: placed.data.placeOrder.id, customer, product };
}

async function look(id: string) {
  const { data } = await graph.ask(
    `{ order(id: "${id}") { status rejection saga { status steps { name outcome attempts error } } } }`,
  );
  return data.order;
}

/** Runs `tributary sagas` beside the graph. */
async function sagas(...args: string[]) {
  const env = Object.fromEntries(
    (['users', 'products', 'orders'] as const).flatMap((name) => [
      [`${name.toUpperCase()}_URL`, graph.urls[name]],
      [`${name.toUpperCase()}_DATABASE_URL`, graph.databases.urls[name]],
    ]),
  );
  const program = runProgram('cli/bin/tributary.mjs', ['sagas', ...args], env);
  return { status: await program.ended, output: program.output() };
}

async function sagaIs(id: string, ...statuses: string[]) {
  await until(
    () => look(id),
    (order) => statuses.includes(order.saga.status),
  );
  // An order and its saga are two rows, read one after the other.
  return look(id);
}

async function accountOf(customer: string) {
  const { data } = await graph.ask(
    `{ user(id: "${customer}") { account { balance { amount } entries { nodes { reason } } } } }`,
  );
  const { balance, entries } = data.user.account;
  return { balance: balance.amount, entries: entries.nodes.map(({ reason }: { reason: string }) => reason) };
}

/** From its owner: one test changes it without any event. */
async function stockOf(product: string) {
  const query = `{ product(id: "${product}") { stock { onHand reserved } } }`;
  return (await graph.ask(query, {}, { 'x-max-staleness': '0' })).data.product.stock;
}

const outcomes = (order: { saga: { steps: { name: string; outcome: string }[] } }) =>
  order.saga.steps.map(({ name, outcome }) => `${name} ${outcome}`);

/** Puts a command into the event log of orders again, as a saga does that got no answer. */
async function deliverAgain(orderId: string, type: string, times: number): Promise<void> {
  await graph.databases.query(
    'orders',
    `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
     select gen_random_uuid(), type, schema_version, aggregate_type, aggregate_id, aggregate_version + 1000 * n, now(), data
     from outbox, generate_series(1, $3::integer) as n
     where aggregate_type = 'Placement' and aggregate_id = $1 and type = $2 and aggregate_version < 1000
     order by n limit $3`,
    [orderId, type, times],
  );
}

async function applied(service: 'users' | 'products'): Promise<void> {
  const [events] = await graph.databases.query('orders', 'select count(*)::int as count from outbox');
  await until(
    async () =>
      ((await (await fetch(`${graph.urls[service]}/copies`)).json()) as Record<string, { position: number }>).orders,
    (orders) => (orders?.position ?? 0) >= Number(events?.count),
  );
}

describe('a command that is delivered five times takes effect once', () => {
  test('when the five come together, before anything was done', async () => {
    const usual = graph;
    // Nothing is given up here, however long it is held up.
    graph = await startGraph({ ordersEnv: { SAGA_STEP_TIMEOUT: '10m' } });
    try {
      const release = await hold('products');
      const { id, customer, product } = await startOrder(2);
      await deliverAgain(id, 'ReserveStock', 4);
      await release();
      await sagaIs(id, 'COMPLETED');
      await applied('products');
      await applied('users');
      expect(await look(id)).toMatchObject({ status: 'CONFIRMED', saga: { status: 'COMPLETED' } });
      expect(await stockOf(product)).toEqual({ onHand: 3, reserved: 0 });
      expect(await accountOf(customer)).toEqual({ balance: '80.00', entries: ['charge', 'deposit'] });
      const answers = await graph.databases.query(
        'products',
        "select count(*)::int as count from outbox where aggregate_type = 'Reservation' and aggregate_id = $1 and type = 'StockReserved'",
        [id],
      );
      expect(answers).toEqual([{ count: 5 }]);
    } finally {
      await graph.stop();
      graph = usual;
    }
  });

  test('when they come after everything is done', async () => {
    const { id, customer, product } = await startOrder(2);
    await sagaIs(id, 'COMPLETED');
    for (const type of ['ReserveStock', 'ChargeAccount', 'CommitStock']) await deliverAgain(id, type, 5);
    await applied('products');
    await applied('users');
    expect(await stockOf(product)).toEqual({ onHand: 3, reserved: 0 });
    expect(await accountOf(customer)).toEqual({ balance: '80.00', entries: ['charge', 'deposit'] });
    expect(await look(id)).toMatchObject({ status: 'CONFIRMED', saga: { status: 'COMPLETED' } });
  });

  test('when its command has been withdrawn', async () => {
    const { id, customer, product } = await startOrder(2);
    await sagaIs(id, 'COMPLETED');
    await graph.ask(`mutation { cancelOrder(id: "${id}", reason: "no") { id } }`);
    await sagaIs(id, 'COMPENSATED');
    for (const type of ['ReserveStock', 'ChargeAccount', 'CommitStock']) await deliverAgain(id, type, 5);
    await applied('products');
    await applied('users');
    expect(await stockOf(product)).toEqual({ onHand: 5, reserved: 0 });
    expect(await accountOf(customer)).toEqual({ balance: '100.00', entries: ['refund', 'charge', 'deposit'] });
    expect(await look(id)).toMatchObject({ status: 'CANCELLED', saga: { status: 'COMPENSATED' } });
  });
});

test('a charge that comes after its order was cancelled is refused, although nothing was charged before', async () => {
  const release = await hold('products');
  const { id, customer } = await startOrder();
  await graph.ask(`mutation { cancelOrder(id: "${id}", reason: "no") { id } }`);
  await release();
  await sagaIs(id, 'COMPENSATED');
  await applied('users');
  await graph.databases.query(
    'orders',
    `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
     values (gen_random_uuid(), 'ChargeAccount', 1, 'Placement', $1, 1000, now(), $2)`,
    [id, JSON.stringify({ userId: customer, amount: '10.00', currency: 'USD' })],
  );
  await applied('users');
  expect(await accountOf(customer)).toEqual({ balance: '100.00', entries: ['deposit'] });
});

describe('an answer that comes after the saga gave up changes nothing for good', () => {
  test('a reservation', async () => {
    const release = await hold('products');
    const { id, customer, product } = await startOrder();
    await sagaIs(id, 'COMPENSATING', 'FAILED');
    await release();
    const order = await sagaIs(id, 'COMPENSATED');
    expect(order).toMatchObject({
      status: 'REJECTED',
      rejection: 'The stock could not be reserved in time. Please order again later.',
    });
    expect(outcomes(order)).toEqual(['reserve-stock TIMED_OUT', 'release-stock SUCCEEDED']);
    await applied('products');
    expect(await stockOf(product)).toEqual({ onHand: 5, reserved: 0 });
    expect((await accountOf(customer)).entries).toEqual(['deposit']);
  });

  test('a charge: it is refunded', async () => {
    const release = await hold('users');
    const { id, customer, product } = await startOrder();
    await sagaIs(id, 'COMPENSATING', 'FAILED');
    await release();
    const order = await sagaIs(id, 'COMPENSATED');
    expect(order).toMatchObject({
      status: 'REJECTED',
      rejection: 'The payment could not be made in time. Please order again later.',
    });
    expect(outcomes(order)).toEqual([
      'reserve-stock SUCCEEDED',
      'charge-account TIMED_OUT',
      'refund-account SUCCEEDED',
      'release-stock SUCCEEDED',
    ]);
    expect(await stockOf(product)).toEqual({ onHand: 5, reserved: 0 });
    expect(await accountOf(customer)).toEqual({ balance: '100.00', entries: ['refund', 'charge', 'deposit'] });
  });
});

describe('a compensation that keeps failing', () => {
  async function failedOrder() {
    const release = await hold('products');
    const order = await startOrder();
    expect(outcomes(await sagaIs(order.id, 'FAILED'))).toEqual(['reserve-stock TIMED_OUT', 'release-stock FAILED']);
    const operations = openOrdersAdmin(graph.databases.urls.orders, {
      USERS_URL: graph.urls.users,
      PRODUCTS_URL: graph.urls.products,
    });
    held.push(() => operations.close());
    return { ...order, release, operations };
  }

  async function metric(name: string): Promise<string | undefined> {
    const text = await (await fetch(`${graph.urls.orders}/metrics`)).text();
    return new RegExp(`^${name}\\{.*\\} (\\d+)`, 'm').exec(text)?.[1];
  }

  test('waits for an operator to retry it', async () => {
    const { id, product, release, operations } = await failedOrder();
    expect(await operations.sagas()).toMatchObject([{ order_id: id, status: 'FAILED' }]);
    expect(await metric('sagas_stuck')).toBe('1');
    expect(await metric('sagas_open')).toBe('1');
    expect((await look(id)).status).toBe('PENDING');
    // An operator finds the order by the number that its customer gives.
    const { number } = (await graph.ask('query Number($id: ID!) { order(id: $id) { number } }', { id })).data.order;
    expect(number).toMatch(/^TR-\d{4}-\d{6}$/);
    const listed = await sagas('list');
    expect(listed.output).toMatch(new RegExp(`^order +id +status .*\\n${number} +${id} +FAILED +release-stock `));
    expect(await sagas('retry', number)).toEqual({
      status: 0,
      output: `Sent the pending commands of order ${number} again.\n`,
    });
    await release();
    expect(await sagaIs(id, 'COMPENSATED')).toMatchObject({ status: 'REJECTED' });
    await applied('products');
    expect(await stockOf(product)).toEqual({ onHand: 5, reserved: 0 });
    expect(await operations.retrySaga(id)).toBe(false);
    expect(await operations.sagas()).toEqual([]);
    expect(await metric('sagas_stuck')).toBe('0');
  });

  test('or to resolve it by hand', async () => {
    const { id, release, operations } = await failedOrder();
    expect(await operations.resolveSaga(id, 'released by hand')).toBe(true);
    const order = await look(id);
    expect(order).toMatchObject({ status: 'REJECTED', saga: { status: 'COMPENSATED' } });
    expect(order.saga.steps.at(-1)).toMatchObject({ outcome: 'RESOLVED', error: 'released by hand' });
    expect(await operations.resolveSaga(id, 'again')).toBe(false);
    expect(await operations.resolveSaga('nobody', 'again')).toBeNull();
    await release();
    await applied('products');
  });

  test('ends by itself when the answer comes at last', async () => {
    const { id, release } = await failedOrder();
    await release();
    expect(await sagaIs(id, 'COMPENSATED')).toMatchObject({ status: 'REJECTED' });
  });
});

describe('stock that is held for too long is released', () => {
  const slow = () => startGraph({ productsEnv: { RESERVATION_TTL: '50ms' } });

  test.each([
    ['and taken after all when it is still there', 5, 'CONFIRMED', { onHand: 4, reserved: 0 }, '90.00'],
    ['and when it is gone, the payment is refunded', 0, 'REJECTED', { onHand: 0, reserved: 0 }, '100.00'],
  ])('%s', async (_what, left, status, stock, balance) => {
    const usual = graph;
    graph = await slow();
    try {
      const release = await hold('users');
      const { id, customer, product } = await startOrder();
      await until(
        () => graph.databases.query('products', 'select status from reservations where order_id = $1', [id]),
        ([reservation]) => reservation?.status === 'EXPIRED',
      );
      expect(await stockOf(product)).toEqual({ onHand: 5, reserved: 0 });
      await graph.databases.query('products', 'update stock set on_hand = $1 where product_id = $2', [left, product]);
      await release();
      expect(await sagaIs(id, 'COMPLETED', 'COMPENSATED')).toMatchObject({ status });
      expect(await stockOf(product)).toEqual(stock);
      expect((await accountOf(customer)).balance).toBe(balance);
    } finally {
      await graph.stop();
      graph = usual;
    }
  });
});

test('a command that cannot be read is parked in its service, and the orders after it go on', async () => {
  await graph.databases.query(
    'orders',
    `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
     values (gen_random_uuid(), 'ReserveStock', 1, 'Placement', 'poison', 1, now(), '{"lines": []}')`,
  );
  const products = new ConsumerOperations({
    consumer: 'products',
    databaseUrl: graph.databases.urls.products,
    subscriptions: [],
  });
  const [letter] = await until(
    () => products.deadLetters(),
    (letters) => letters.length > 0,
  );
  expect(letter).toMatchObject({ consumer: 'products', source: 'orders', aggregate_id: 'poison' });
  const { id } = await startOrder();
  await sagaIs(id, 'COMPLETED');
  expect(await products.discardDeadLetter('orders', letter?.position as number)).toBe(true);
  await products.close();
});

test('an overdue saga that cannot be moved on does not keep the others', async () => {
  const release = await hold('products');
  const { id: broken } = await startOrder();
  const { id } = await startOrder();
  // The stream of one order has a hole.
  await graph.databases.query('orders', 'update order_events set version = 7 where order_id = $1', [broken]);
  try {
    const order = await sagaIs(id, 'COMPENSATING', 'FAILED');
    expect(outcomes(order)[0]).toBe('reserve-stock TIMED_OUT');
    const [saga] = await graph.databases.query('orders', 'select status from placement_sagas where order_id = $1', [
      broken,
    ]);
    expect(saga).toEqual({ status: 'STARTED' });
  } finally {
    await graph.databases.query('orders', 'update order_events set version = 1 where order_id = $1', [broken]);
    await graph.databases.query('orders', 'update placement_sagas set due_at = now() where order_id = $1', [broken]);
    await release();
  }
  await sagaIs(broken, 'COMPENSATED', 'COMPLETED');
});

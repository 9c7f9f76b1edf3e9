import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@tributary/cli';
import { readSuperstore } from '@tributary/superstore';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';
import { ask } from '../../../test/harness/graphql-client.ts';
import { openOrdersAdmin } from '../../../test/harness/orders-admin.ts';
import { startTcpProxy, type TcpProxy } from '../../../test/harness/tcp-proxy.ts';
import { until } from '../../../test/harness/until.ts';
import { definition as orders } from '../src/index.js';
import { rebuildReadModels } from '../src/service.js';

let graph: TestGraph;
let usersProxy: TcpProxy;
beforeAll(async () => {
  // Orders reaches users through a proxy, so that users can be silent.
  const port = await freePort();
  usersProxy = await startTcpProxy('localhost', port);
  graph = await startGraph({
    usersEnv: { USERS_PORT: String(port) },
    ordersEnv: { USERS_URL: `http://127.0.0.1:${usersProxy.port}` },
  });
});
afterAll(async () => {
  await graph?.stop();
  await usersProxy?.close();
});

const undo: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const each of undo.splice(0)) await each();
});

const PLACE = `mutation Place($input: PlaceOrderInput!, $key: ID!) {
  placeOrder(input: $input, idempotencyKey: $key) {
    id status total { amount } customer { name email } items { unitPrice { amount } product { sku name } }
  }
}`;

function place(customerId: string, productIds: string[], { key = randomUUID() as string, waitMs = 4000 } = {}) {
  const items = productIds.map((productId) => ({ productId, quantity: 1 }));
  return graph.ask(PLACE, { input: { customerId, items, waitMs }, key });
}

async function registerUser(name = 'Ada'): Promise<string> {
  const { data } = await graph.ask(
    `mutation Register($name: String!, $email: String!) { registerUser(input: { name: $name, email: $email }) { id } }`,
    { name, email: `${randomUUID()}@example.org` },
  );
  const { id } = data.registerUser;
  await graph.ask(
    'mutation Deposit($id: ID!, $key: ID!) { deposit(userId: $id, amount: "100", idempotencyKey: $key) { balance { amount } } }',
    { id, key: randomUUID() },
  );
  return id;
}

async function createProduct(price = '10.00'): Promise<string> {
  const { data } = await graph.ask(
    'mutation Create($input: CreateProductInput!) { createProduct(input: $input) { id } }',
    { input: { sku: randomUUID(), name: 'A lamp', category: 'Furniture', subCategory: 'Lamps', price, onHand: 50 } },
  );
  return data.createProduct.id;
}

/** Keeps the copies from taking any event until the test is over. */
async function holdCopies(): Promise<() => Promise<void>> {
  const client = new pg.Client(graph.databases.urls.orders);
  await client.connect();
  await client.query("begin; select from consumer_positions where source in ('users', 'products') for update");
  let held = true;
  const release = async () => {
    if (held) await client.end();
    held = false;
  };
  undo.push(release);
  return release;
}

async function copied(table: 'users_copy' | 'products_copy', ...ids: string[]): Promise<void> {
  await until(
    () => graph.databases.query('orders', `select id from ${table} where id = any($1)`, [ids]),
    (rows) => rows.length === ids.length,
  );
}

/** Everything that placing an order stores. */
async function stored() {
  const [counts] = await graph.databases.query(
    'orders',
    `select (select count(*) from placement_sagas) as sagas, (select count(*) from order_events) as events,
       (select count(*) from orders_read) as orders, (select count(*) from outbox) as outbox,
       (select last_value from order_numbers) as number, (select is_called from order_numbers) as called`,
  );
  return counts;
}

describe('an order for what does not exist is refused, and nothing is stored', () => {
  let customer: string;
  let lamp: string;
  beforeEach(async () => {
    [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
  });

  test.each([
    ['an unknown customer', () => ['nobody', [lamp]] as const, 'customerId', 'There is no user with id "nobody".'],
    [
      'an unknown product',
      () => [customer, [lamp, 'nothing']] as const,
      'items[1].productId',
      'There is no product with id "nothing".',
    ],
    ['both', () => ['nobody', ['nothing']] as const, 'customerId', 'There is no user with id "nobody".'],
  ])('%s', async (_what, order, field, message) => {
    const before = await stored();
    const key = randomUUID();
    const [customerId, productIds] = order();
    const { data, errors } = await place(customerId, [...productIds], { key });
    expect(data).toBeNull();
    expect(errors).toMatchObject([{ message, path: ['placeOrder'], extensions: { code: 'NOT_FOUND', field } }]);
    expect(await stored()).toEqual(before);
    // The key is as good as new.
    const { data: placed } = await place(customer, [lamp], { key });
    expect(placed.placeOrder.status).toBe('CONFIRMED');
  });

  test('among others that are placed at the same time, it is the only one that is refused', async () => {
    await copied('users_copy', customer);
    await copied('products_copy', lamp);
    const answers = await Promise.all(
      Array.from({ length: 24 }, (_, i) => {
        if (i % 6 === 1) return place('nobody', [lamp]);
        if (i % 6 === 3) return place(customer, [lamp, `nothing ${i}`]);
        return place(customer, [lamp], { waitMs: 0 });
      }),
    );
    const outcome = answers.map(({ data, errors }) => errors?.[0]?.extensions.field ?? typeof data.placeOrder.id);
    expect(outcome).toEqual(
      Array.from({ length: 24 }, (_, i) =>
        i % 6 === 1 ? 'customerId' : i % 6 === 3 ? 'items[1].productId' : 'string',
      ),
    );
    await until(
      () => graph.databases.query('orders', 'select from placement_sagas where finished_at is null'),
      (open) => open.length === 0,
    );
  });
});

test('a deleted user reads the same everywhere: from its owner, from the copy, and from orders', async () => {
  const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
  const { data: placed } = await place(customer, [lamp]);
  await graph.ask('mutation Delete($id: ID!) { deleteUser(id: $id) { id } }', { id: customer });
  const deleted = { name: 'Deleted user', email: 'deleted@deleted.invalid' };
  await until(
    () => graph.databases.query('orders', 'select name, email from users_copy where id = $1 and deleted', [customer]),
    (rows) => rows.length === 1,
  );
  for (const headers of [{}, { 'x-max-staleness': '0' }] as Record<string, string>[]) {
    const { data, errors } = await graph.ask(
      `query Deleted($user: ID!, $order: ID!) {
        user(id: $user) { name email orders { nodes { customer { name email } } } }
        order(id: $order) { customer { name email } }
      }`,
      { user: customer, order: placed.placeOrder.id },
      headers,
    );
    expect(errors).toBeUndefined();
    expect(data).toEqual({
      user: { ...deleted, orders: { nodes: [{ customer: deleted }] } },
      order: { customer: deleted },
    });
  }
});

test.each([
  ['an idempotency key', { key: '\ud800' }],
  ['a customer id', { customerId: 'a\udfff' }],
  ['a product id', { productId: '\ud83d' }],
  ['NUL in a product id', { productId: 'a\0b' }],
  ['NUL in a key', { key: 'a\0b' }],
])('text that cannot be stored is refused at the subgraph: %s', async (_what, change) => {
  const given = { customerId: 'CG-12520', productId: 'FUR-BO-10001798', key: randomUUID(), ...change };
  const before = await stored();
  const { errors } = await ask(graph.urls.orders, PLACE, {
    input: { customerId: given.customerId, items: [{ productId: given.productId, quantity: 1 }], waitMs: 0 },
    key: given.key,
  });
  expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT' } }]);
  expect(await stored()).toEqual(before);
});

describe('what the copies do not have yet', () => {
  test('is read from its owner: an order can refer to a user and a product that were created a moment ago', async () => {
    const release = await holdCopies();
    const [customer, lamp] = await Promise.all([registerUser('Grace Hopper'), createProduct('12.34')]);
    expect(await graph.databases.query('orders', 'select from users_copy where id = $1', [customer])).toEqual([]);
    const { data, errors } = await place(customer, [lamp], { waitMs: 0 });
    expect(errors).toBeUndefined();
    expect(data.placeOrder).toMatchObject({
      status: 'PENDING',
      total: { amount: '12.34' },
      customer: { name: 'Grace Hopper', email: expect.stringContaining('@example.org') },
      items: [{ unitPrice: { amount: '12.34' }, product: { name: 'A lamp' } }],
    });
    await release();
    await until(
      async () => (await graph.ask(`{ order(id: "${data.placeOrder.id}") { status } }`)).data.order.status,
      (status) => status === 'CONFIRMED',
    );
  });

  test('cannot be ordered while its owner does not answer: SUBGRAPH_UNAVAILABLE in good time, and nothing is stored', async () => {
    const [customerInCopy, lamp] = await Promise.all([registerUser(), createProduct()]);
    await copied('users_copy', customerInCopy);
    await copied('products_copy', lamp);
    await holdCopies();
    const customer = await registerUser();
    usersProxy.pause();
    undo.push(() => usersProxy.resume());
    const before = await stored();
    const key = randomUUID();
    const started = performance.now();
    const order = [];
    const refused = place(customer, [lamp], { key }).finally(() => order.push('refused'));
    // Orders of customers in the copy do not wait for the owner.
    const placed = await place(customerInCopy, [lamp], { waitMs: 0 });
    order.push('placed');
    expect(placed.data.placeOrder.status).toBe('PENDING');
    const { data, errors } = await refused;
    expect(data).toBeNull();
    expect(errors).toMatchObject([
      { message: expect.stringContaining('users'), extensions: { code: 'SUBGRAPH_UNAVAILABLE' } },
    ]);
    expect(performance.now() - started).toBeLessThan(5000);
    expect(order).toEqual(['placed', 'refused']);
    expect(await stored()).toMatchObject({ orders: String(Number(before?.orders) + 1) });

    // What was placed under a key before is answered all the same.
    const [row] = await graph.databases.query('orders', 'delete from users_copy where id = $1 returning *', [
      customerInCopy,
    ]);
    const key2 = randomUUID();
    await graph.databases.query('orders', 'update placement_sagas set idempotency_key = $2 where order_id = $1', [
      placed.data.placeOrder.id,
      key2,
    ]);
    const again = await place(customerInCopy, [lamp], { key: key2, waitMs: 0 });
    expect(again.data.placeOrder.id).toBe(placed.data.placeOrder.id);

    await graph.databases.query(
      'orders',
      'insert into users_copy select * from jsonb_populate_record(null::users_copy, $1)',
      [JSON.stringify(row)],
    );

    usersProxy.resume();
    const retried = await place(customer, [lamp], { key, waitMs: 0 });
    expect(retried.data.placeOrder.status).toBe('PENDING');
  });

  test('is not waited for beyond the time of the whole request, whose fields wait together', async () => {
    const [customerInCopy, lamp] = await Promise.all([registerUser(), createProduct()]);
    await copied('users_copy', customerInCopy);
    await copied('products_copy', lamp);
    await holdCopies();
    const customer = await registerUser();
    usersProxy.pause();
    undo.push(() => usersProxy.resume());
    const input = (customerId: string) => ({ customerId, items: [{ productId: lamp, quantity: 1 }], waitMs: 4000 });
    const started = performance.now();
    const { errors } = await ask(
      graph.urls.orders,
      `mutation Two($inCopy: PlaceOrderInput!, $unknown: PlaceOrderInput!, $one: ID!, $two: ID!) {
        first: placeOrder(input: $inCopy, idempotencyKey: $one) { status }
        second: placeOrder(input: $unknown, idempotencyKey: $two) { status }
      }`,
      { inCopy: input(customerInCopy), unknown: input(customer), one: randomUUID(), two: randomUUID() },
    );
    expect(errors).toMatchObject([{ path: ['second'], extensions: { code: 'SUBGRAPH_UNAVAILABLE' } }]);
    expect(errors?.[0]?.message).toContain('The users service does not answer');
    // The first field waits for four seconds; without a bound the second would wait for two more.
    const elapsed = performance.now() - started;
    expect(elapsed).toBeGreaterThan(4400);
    expect(elapsed).toBeLessThan(5500);
  });

  test('is read from its owner in one look-up at a time, however many gather', async () => {
    let [underWay, most, lookUps] = [0, 0, 0];
    const counting = createServer(async (request, response) => {
      const counts = request.method === 'POST' && request.url === '/aggregates/User';
      if (counts) {
        lookUps += 1;
        underWay += 1;
        most = Math.max(most, underWay);
        // A slow owner: meanwhile the ids of all other orders gather.
        await sleep(lookUps === 1 ? 1000 : 50);
      }
      const body = request.method === 'GET' ? null : Buffer.concat(await request.toArray());
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(graph.urls.users + request.url, { method: request.method ?? 'GET', headers, body });
      const text = await answer.text();
      if (counts) underWay -= 1;
      response.writeHead(answer.status, headers).end(text);
    });
    await new Promise<void>((resolve) => counting.listen(0, '127.0.0.1', resolve));
    const service = await orders.create(
      {
        ORDERS_PORT: '0',
        ORDERS_DATABASE_URL: graph.databases.urls.orders,
        USERS_URL: `http://127.0.0.1:${(counting.address() as AddressInfo).port}`,
        PRODUCTS_URL: graph.urls.products,
      },
      pino({ level: 'silent' }),
    );
    try {
      const url = await service.listen();
      const answers = await Promise.all(
        Array.from({ length: 500 }, (_, i) =>
          ask(url, PLACE, {
            input: { customerId: `nobody ${i}`, items: [{ productId: 'FUR-BO-10001798', quantity: 1 }], waitMs: 0 },
            key: randomUUID(),
          }),
        ),
      );
      expect(new Set(answers.map(({ errors }) => errors?.[0]?.extensions.code))).toEqual(new Set(['NOT_FOUND']));
      expect(lookUps).toBeGreaterThanOrEqual(5);
      expect(most).toBe(1);
    } finally {
      await service.close();
      counting.close();
    }
  });

  test('may arrive while the copy is rebuilt, which does not fail for it', async () => {
    const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
    await copied('users_copy', customer);
    await copied('products_copy', lamp);
    // The event log has the customer; the copy has lost it.
    await graph.databases.query('orders', 'delete from users_copy where id = $1', [customer]);
    const operations = openOrdersAdmin(graph.databases.urls.orders, {
      USERS_URL: graph.urls.users,
      PRODUCTS_URL: graph.urls.products,
    });
    undo.push(() => operations.close());
    // Another customer's row keeps the rebuild's last transaction from going on.
    const client = new pg.Client(graph.databases.urls.orders);
    await client.connect();
    undo.push(() => client.end());
    await client.query("begin; select from users_copy where id = 'CG-12520' for update");
    const waiting = (statement: string) =>
      graph.databases.query(
        'orders',
        `select from pg_stat_activity
         where datname = current_database() and wait_event_type = 'Lock' and query ilike '%' || $1 || '%'`,
        [statement],
      );
    const rebuilt = operations.rebuild('users');
    await until(
      () => waiting('delete from "users_copy"'),
      (rows) => rows.length > 0,
    );
    const placed = place(customer, [lamp], { waitMs: 0 });
    await until(
      async () => [
        ...(await waiting('insert into "users_copy"')),
        ...(await graph.databases.query('orders', 'select from users_copy where id = $1', [customer])),
      ],
      (rows) => rows.length > 0,
    );
    await client.query('commit');
    expect(await rebuilt).toBeGreaterThan(0);
    expect((await placed).data.placeOrder.customer.name).toBe('Ada');
  });

  test('a rebuild keeps a row that is newer than the events that it has read', async () => {
    const operations = openOrdersAdmin(graph.databases.urls.orders, {
      USERS_URL: graph.urls.users,
      PRODUCTS_URL: graph.urls.products,
    });
    undo.push(() => operations.close());
    const customer = await registerUser();
    await copied('users_copy', customer);
    await graph.databases.query('orders', "update users_copy set name = 'Newer', version = 9 where id = $1", [
      customer,
    ]);
    await graph.databases.query('orders', "update users_copy set name = 'Wrong' where id = 'CG-12520'");
    await graph.databases.query(
      'orders',
      "insert into users_copy (id, name, email, version) values ('ghost', 'G', 'g', 1)",
    );
    await operations.rebuild('users');
    const rows = await graph.databases.query(
      'orders',
      "select name from users_copy where id in ($1, 'CG-12520', 'ghost') order by name",
      [customer],
    );
    expect(rows).toEqual([{ name: 'Claire Gute' }, { name: 'Newer' }]);
  });
});

describe('in a database of an earlier release', () => {
  const lines = [
    { productId: 'FUR-BO-10001798', quantity: 1, unitPrice: '10.00', discount: '0', lineTotal: '10.00' },
    { productId: 'nothing', quantity: 2, unitPrice: '0.00', discount: '0', lineTotal: '0.00' },
  ];
  const request = { customerId: 'nobody', items: lines.map(({ productId, quantity }) => ({ productId, quantity })) };
  const oddRequest = { customerId: 'Ame\u0301lie\u0001', items: [{ productId: 'cafe\u0301\u0007', quantity: 1 }] };
  const oddKey = 'a\u0001key\twith control characters';

  beforeAll(async () => {
    await graph.databases.query(
      'orders',
      `alter table placement_sagas drop column if exists customer_id;
       create unique index if not exists placement_sagas_idempotency_key on placement_sagas (idempotency_key);
       alter table ledger drop column leader, drop column term, drop column lease_until;
       drop function lead_outbox;
       alter table consumer_positions drop column in_sync_at, drop column in_sync_position;
       delete from kysely_migration where name >= '0006';`,
    );
    await graph.databases.query(
      'orders',
      `insert into placement_sagas (order_id, idempotency_key, request, status, steps, commands, started_at, finished_at)
       values ('stored', 'a stored key', $1, 'COMPENSATED', '[]', 1, now(), now()),
         ('odd', $2, $3, 'COMPENSATED', '[]', 1, now(), now())`,
      [JSON.stringify(request), oddKey, JSON.stringify(oddRequest)],
    );
    const { customerId, items } = oddRequest;
    const oddLines = items.map((item) => ({ ...item, unitPrice: '0.00', discount: '0', lineTotal: '0.00' }));
    const odd = { number: 'TR-2016-000001', customerId, currency: 'USD', lines: oddLines, total: '0.00' };
    await graph.databases.query(
      'orders',
      `insert into order_events (order_id, version, type, schema_version, data, at)
       values ('odd', 1, 'OrderPlaced', 2, $1, '2016-01-01'),
         ('odd', 2, 'OrderRejected', 1, '{"reason": "There is no such user."}', '2016-01-01')`,
      [JSON.stringify(odd)],
    );
    const placed = { number: 'TR-2016-000000', customerId: 'nobody', currency: 'USD', lines, total: '10.00' };
    await graph.databases.query(
      'orders',
      `insert into order_events (order_id, version, type, schema_version, data, at)
       values ('stored', 1, 'OrderPlaced', 2, $1, now()),
         ('stored', 2, 'OrderRejected', 1, '{"reason": "There is no product with id \\"nothing\\"."}', now())`,
      [JSON.stringify(placed)],
    );
    await orders.setUp({ databaseUrl: graph.databases.urls.orders, scale: 1, readHistory: () => readSuperstore() });
    await rebuildReadModels(graph.databases.urls.orders);
  });

  const LIST = `query List($first: Int!) {
    orders(first: $first) {
      nodes {
        id status
        customer {
          id name email status segment version createdAt updatedAt addresses { city }
          account { balance { amount } entries { totalCount nodes { id } } }
          orders { totalCount nodes { id } } orderStats { orderCount totalSpent { amount } lastOrderAt }
        }
        items {
          quantity
          product {
            id sku name category subCategory price { amount currency } attributes status version createdAt updatedAt
            stock { onHand reserved available } sales { unitsSold revenue { amount } orderCount }
          }
        }
      }
    }
  }`;

  test('an order of an unknown customer for an unknown product is complete, from copies and from owners alike', async () => {
    const fromCopies = await graph.ask(LIST, { first: 3 });
    const fromOwners = await graph.ask(LIST, { first: 3 }, { 'x-max-staleness': '0' });
    expect(fromCopies.errors).toBeUndefined();
    expect(fromOwners.errors).toBeUndefined();
    expect(fromOwners.data).toEqual(fromCopies.data);
    expect(fromCopies.data.orders.nodes).toHaveLength(3);
    const order = fromCopies.data.orders.nodes.find(({ id }: { id: string }) => id === 'stored');
    const never = '1970-01-01T00:00:00.000Z';
    expect(order.customer).toEqual({
      id: 'nobody',
      name: 'Unknown user',
      email: 'unknown@unknown.invalid',
      status: 'DELETED',
      segment: null,
      version: 0,
      createdAt: never,
      updatedAt: never,
      addresses: [],
      account: { balance: { amount: '0.00' }, entries: { totalCount: 0, nodes: [] } },
      orders: { totalCount: 1, nodes: [{ id: 'stored' }] },
      orderStats: { orderCount: 0, totalSpent: { amount: '0.00' }, lastOrderAt: null },
    });
    expect(order.items[1].product).toEqual({
      id: 'nothing',
      sku: 'unknown:nothing',
      name: 'Unknown product',
      category: 'Unknown',
      subCategory: 'Unknown',
      price: { amount: '0.00', currency: 'USD' },
      attributes: {},
      status: 'DISCONTINUED',
      version: 0,
      createdAt: never,
      updatedAt: never,
      stock: { onHand: 0, reserved: 0, available: 0 },
      sales: { unitsSold: 0, revenue: { amount: '0.00' }, orderCount: 0 },
    });
  });

  test.each([
    ['from the copies', {}],
    ['from the owners', { 'x-max-staleness': '0' }],
  ])('each field alone, too, %s', async (_where, headers: Record<string, string>) => {
    const names = await graph.ask(
      'query Names { order(id: "stored") { customer { name } items { product { name } } } }',
      {},
      headers,
    );
    expect(names.errors).toBeUndefined();
    const emails = await graph.ask(
      'query Emails { order(id: "stored") { customer { email } items { product { sku } } } }',
      {},
      headers,
    );
    expect(emails.errors).toBeUndefined();
    const owned = await graph.ask(
      'query Owned { order(id: "stored") { customer { status } items { product { price { amount } } } } }',
      {},
      headers,
    );
    expect(owned.errors).toBeUndefined();
  });

  test('a root query for them answers null', async () => {
    const { data, errors } = await graph.ask(
      'query Roots { user(id: "nobody") { name } product(id: "nothing") { name } bySku: product(sku: "unknown:nothing") { name } }',
    );
    expect(errors).toBeUndefined();
    expect(data).toEqual({ user: null, product: null, bySku: null });
  });

  test('a stored idempotency key stands for its order still', async () => {
    const key = 'a stored key';
    const { data, errors } = await graph.ask(PLACE, { input: { ...request, waitMs: 0 }, key });
    expect(errors).toBeUndefined();
    expect(data.placeOrder).toMatchObject({ id: 'stored', status: 'REJECTED' });
    const other = await graph.ask(PLACE, { input: { ...request, items: request.items.slice(1), waitMs: 0 }, key });
    expect(other.errors).toMatchObject([{ extensions: { code: 'CONFLICT', reason: 'IDEMPOTENCY_KEY_REUSED' } }]);
  });

  test('and so does one with control characters, of a customer whose id is decomposed', async () => {
    const { data, errors } = await graph.ask(PLACE, { input: { ...oddRequest, waitMs: 0 }, key: ` ${oddKey} ` });
    expect(errors).toBeUndefined();
    expect(data.placeOrder).toMatchObject({ id: 'odd', status: 'REJECTED' });
    const composed = { ...oddRequest, customerId: oddRequest.customerId.normalize('NFC'), waitMs: 0 };
    const other = await graph.ask(PLACE, { input: composed, key: oddKey });
    expect(other.errors).toMatchObject([{ extensions: { code: 'NOT_FOUND', field: 'customerId' } }]);
  });
});

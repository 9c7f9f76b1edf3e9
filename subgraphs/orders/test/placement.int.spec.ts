import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';
import { ask } from '../../../test/harness/graphql-client.ts';
import { until } from '../../../test/harness/until.ts';
import { rebuildReadModels } from '../src/service.js';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

const ORDER = `
  id number status version rejection total { amount currency }
  items { quantity unitPrice { amount } lineTotal { amount } product { id } }
  history { type version } saga { id status finishedAt steps { name outcome attempts error } }
`;

function place(
  customerId: string,
  items: { productId: string; quantity: number }[],
  key = randomUUID(),
  waitMs = 4000,
) {
  return graph.ask(
    `mutation ($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { ${ORDER} } }`,
    { input: { customerId, items, waitMs }, key },
  );
}

function cancel(id: string, reason = 'changed my mind') {
  return graph.ask(`mutation ($id: ID!, $reason: String!) { cancelOrder(id: $id, reason: $reason) { ${ORDER} } }`, {
    id,
    reason,
  });
}

async function createProduct(price = '10.00', onHand = 5): Promise<string> {
  const { data } = await graph.ask(`mutation ($input: CreateProductInput!) { createProduct(input: $input) { id } }`, {
    input: { sku: randomUUID(), name: 'A lamp', category: 'Furniture', subCategory: 'Lamps', price, onHand },
  });
  return data.createProduct.id;
}

async function registerUser(balance = '100.00'): Promise<string> {
  const { data } = await graph.ask(
    `mutation ($email: String!) { registerUser(input: { name: "Ada", email: $email }) { id } }`,
    { email: `${randomUUID()}@example.org` },
  );
  const { id } = data.registerUser;
  if (Number(balance) > 0) {
    await graph.ask(
      'mutation ($id: ID!, $amount: Decimal!, $key: ID!) { deposit(userId: $id, amount: $amount, idempotencyKey: $key) { balance { amount } } }',
      { id, amount: balance, key: randomUUID() },
    );
  }
  return id;
}

async function balanceOf(userId: string) {
  const { data } = await graph.ask(
    '{ user(id: "' +
      userId +
      '") { account { balance { amount } entries { nodes { amount { amount } reason orderId } } } } }',
  );
  return { balance: data.user.account.balance.amount, entries: data.user.account.entries.nodes };
}

async function stockOf(productId: string) {
  const { data } = await graph.ask(`{ product(id: "${productId}") { stock { onHand reserved available } } }`);
  return data.product.stock;
}

const outcomes = (order: { saga: { steps: { name: string; outcome: string }[] } }) =>
  order.saga.steps.map(({ name, outcome }) => `${name} ${outcome}`);

test('an order is placed across three services: stock reserved, account charged, order confirmed', async () => {
  const [customer, lamp, desk] = await Promise.all([registerUser(), createProduct('10.00'), createProduct('19.99')]);
  const { data, errors } = await place(customer, [
    { productId: lamp, quantity: 2 },
    { productId: desk, quantity: 1 },
  ]);
  expect(errors).toBeUndefined();
  const order = data.placeOrder;
  expect(order).toMatchObject({
    number: expect.stringMatching(/^TR-\d{4}-\d{6}$/),
    status: 'CONFIRMED',
    rejection: null,
    total: { amount: '39.99', currency: 'USD' },
    items: [
      { quantity: 2, unitPrice: { amount: '10.00' }, lineTotal: { amount: '20.00' }, product: { id: lamp } },
      { quantity: 1, unitPrice: { amount: '19.99' }, lineTotal: { amount: '19.99' }, product: { id: desk } },
    ],
    saga: { status: 'COMPLETED', finishedAt: expect.any(String) },
  });
  expect(outcomes(order)).toEqual(['reserve-stock SUCCEEDED', 'charge-account SUCCEEDED', 'confirm-stock SUCCEEDED']);
  expect(await stockOf(lamp)).toEqual({ onHand: 3, reserved: 0, available: 3 });
  expect(await stockOf(desk)).toEqual({ onHand: 4, reserved: 0, available: 4 });
  expect(await balanceOf(customer)).toEqual({
    balance: '60.01',
    entries: [
      { amount: { amount: '-39.99' }, reason: 'charge', orderId: order.id },
      { amount: { amount: '100.00' }, reason: 'deposit', orderId: null },
    ],
  });
  await until(
    () => graph.databases.query('products', 'select units_sold from products where id = $1', [lamp]),
    ([product]) => product?.units_sold === '2',
  );
  const { data: after } = await graph.ask(
    `{ order(number: "${order.number}") { id status } user(id: "${customer}") { orderStats { orderCount totalSpent { amount } } } product(id: "${lamp}") { sales { unitsSold revenue { amount } } } }`,
  );
  expect(after).toEqual({
    order: { id: order.id, status: 'CONFIRMED' },
    user: { orderStats: { orderCount: 1, totalSpent: { amount: '39.99' } } },
    product: { sales: { unitsSold: 2, revenue: { amount: '20.00' } } },
  });
});

describe('an order that cannot be fulfilled is rejected, and nothing is left of it', () => {
  test('out of stock: nothing is reserved, nothing is charged', async () => {
    const [customer, lamp, rare] = await Promise.all([registerUser(), createProduct(), createProduct('1.00', 1)]);
    const { data } = await place(customer, [
      { productId: lamp, quantity: 1 },
      { productId: rare, quantity: 2 },
    ]);
    expect(data.placeOrder).toMatchObject({
      status: 'REJECTED',
      rejection: '"A lamp" has 1 in stock, and 2 were ordered.',
      saga: { status: 'COMPENSATED', finishedAt: expect.any(String) },
    });
    expect(outcomes(data.placeOrder)).toEqual(['reserve-stock REFUSED']);
    expect(await stockOf(lamp)).toEqual({ onHand: 5, reserved: 0, available: 5 });
    expect(await stockOf(rare)).toEqual({ onHand: 1, reserved: 0, available: 1 });
    expect((await balanceOf(customer)).balance).toBe('100.00');
  });

  test('the same product on two lines is reserved as one quantity', async () => {
    const [customer, lamp] = await Promise.all([registerUser(), createProduct('1.00', 3)]);
    const line = { productId: lamp, quantity: 2 };
    expect((await place(customer, [line, line])).data.placeOrder.status).toBe('REJECTED');
    expect((await place(customer, [line, { ...line, quantity: 1 }])).data.placeOrder.status).toBe('CONFIRMED');
    expect(await stockOf(lamp)).toEqual({ onHand: 0, reserved: 0, available: 0 });
  });

  test('insufficient funds: the stock is released', async () => {
    const [customer, lamp] = await Promise.all([registerUser('19.99'), createProduct()]);
    const { data } = await place(customer, [{ productId: lamp, quantity: 2 }]);
    expect(data.placeOrder).toMatchObject({
      status: 'REJECTED',
      rejection: 'The order costs 20.00 USD, and the account holds 19.99 USD.',
      saga: { status: 'COMPENSATED' },
    });
    expect(outcomes(data.placeOrder)).toEqual([
      'reserve-stock SUCCEEDED',
      'charge-account REFUSED',
      'release-stock SUCCEEDED',
    ]);
    expect(await stockOf(lamp)).toEqual({ onHand: 5, reserved: 0, available: 5 });
    expect((await balanceOf(customer)).entries).toHaveLength(1);
  });

  test('a discontinued product', async () => {
    const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
    await graph.ask(`mutation { discontinueProduct(id: "${lamp}") { id } }`);
    const { data } = await place(customer, [{ productId: lamp, quantity: 1 }]);
    expect(data.placeOrder).toMatchObject({ status: 'REJECTED', rejection: '"A lamp" is not sold any more.' });
    expect(outcomes(data.placeOrder)).toEqual(['reserve-stock REFUSED']);
    expect(await stockOf(lamp)).toEqual({ onHand: 5, reserved: 0, available: 5 });
  });

  test.each([
    ['suspended', () => userIn('SUSPENDED'), 'is suspended.'],
    ['deleted', () => userIn('DELETED'), 'was deleted.'],
  ])('a %s user: the stock is released', async (_state, customer, words) => {
    const lamp = await createProduct();
    const { data } = await place(await customer(), [{ productId: lamp, quantity: 1 }]);
    expect(data.placeOrder).toMatchObject({ status: 'REJECTED', rejection: expect.stringContaining(words) });
    expect(outcomes(data.placeOrder)).toEqual([
      'reserve-stock SUCCEEDED',
      'charge-account REFUSED',
      'release-stock SUCCEEDED',
    ]);
    expect(await stockOf(lamp)).toEqual({ onHand: 5, reserved: 0, available: 5 });
  });

  async function userIn(status: 'SUSPENDED' | 'DELETED'): Promise<string> {
    const id = await registerUser();
    const change =
      status === 'DELETED' ? `deleteUser(id: "${id}")` : `updateUser(id: "${id}", input: { status: ${status} })`;
    await graph.ask(`mutation { ${change} { id } }`);
    return id;
  }
});

describe('an order that cannot be is refused', () => {
  test.each([
    ['no items', { customerId: 'CG-12520', items: [] }, 'items', '"items" must have at least one item.'],
    [
      'no units',
      { customerId: 'CG-12520', items: [{ productId: 'x', quantity: 0 }] },
      'items[0].quantity',
      'from 1 to 10000',
    ],
    [
      'too many',
      { customerId: 'CG-12520', items: [{ productId: 'x', quantity: 10_001 }] },
      'items[0].quantity',
      'from 1 to 10000',
    ],
    [
      'no product',
      { customerId: 'CG-12520', items: [{ productId: ' ', quantity: 1 }] },
      'items[0].productId',
      'must not be empty',
    ],
    ['no customer', { customerId: '', items: [{ productId: 'x', quantity: 1 }] }, 'customerId', 'must not be empty'],
    [
      'a hundred and one lines',
      { customerId: 'CG-12520', items: Array.from({ length: 101 }, () => ({ productId: 'x', quantity: 1 })) },
      'items',
      'at most 100 items',
    ],
  ])('%s', async (_what, input, field, words) => {
    const { data, errors } = await graph.ask(
      'mutation ($input: PlaceOrderInput!) { placeOrder(input: $input, idempotencyKey: "refused") { id } }',
      { input },
    );
    expect(data).toBeNull();
    expect(errors?.[0]).toMatchObject({
      message: expect.stringContaining(words),
      extensions: { code: 'BAD_USER_INPUT', field },
    });
  });
});

describe('an idempotency key', () => {
  test('stands for one order, also when requests race', async () => {
    const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
    const key = randomUUID();
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => place(customer, [{ productId: lamp, quantity: 1 }], key)),
    );
    const orders = answers.map(({ data }) => data.placeOrder);
    expect(new Set(orders.map(({ id }) => id)).size).toBe(1);
    expect(orders.map(({ status }) => status)).toEqual(Array(8).fill('CONFIRMED'));
    expect((await place(customer, [{ productId: lamp, quantity: 1 }], key, 0)).data.placeOrder.id).toBe(orders[0].id);
    expect(await stockOf(lamp)).toEqual({ onHand: 4, reserved: 0, available: 4 });
  });

  test('is refused for another request of its customer', async () => {
    const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
    const key = randomUUID();
    const { data: first } = await place(customer, [{ productId: lamp, quantity: 1 }], key);
    const { data, errors } = await place(customer, [{ productId: lamp, quantity: 2 }], key);
    expect(data).toBeNull();
    expect(errors?.[0]?.extensions).toMatchObject({ code: 'CONFLICT', reason: 'IDEMPOTENCY_KEY_REUSED' });
    expect(first.placeOrder.status).toBe('CONFIRMED');
  });

  test('of one customer is not that of another: each places an order with it, once', async () => {
    const [ada, grace, lamp] = await Promise.all([registerUser(), registerUser(), createProduct()]);
    const key = randomUUID();
    const items = [{ productId: lamp, quantity: 1 }];
    const answers = await Promise.all([ada, grace, ada, grace].map((customer) => place(customer, items, key)));
    const [first, second, firstAgain, secondAgain] = answers.map(({ data }) => data?.placeOrder);
    expect([first.status, second.status]).toEqual(['CONFIRMED', 'CONFIRMED']);
    expect(first.id).not.toBe(second.id);
    expect([firstAgain.id, secondAgain.id]).toEqual([first.id, second.id]);
    expect(await stockOf(lamp)).toEqual({ onHand: 3, reserved: 0, available: 3 });
  });
});

test('without waiting, the response has a PENDING order, which is confirmed soon', async () => {
  const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
  const { data } = await place(customer, [{ productId: lamp, quantity: 1 }], randomUUID(), 0);
  expect(data.placeOrder.status).toBe('PENDING');
  await until(
    async () => (await graph.ask(`{ order(id: "${data.placeOrder.id}") { status } }`)).data.order.status,
    (status) => status === 'CONFIRMED',
  );
});

test('the price is the one that the products service has when it reserves the stock', async () => {
  const [customer, lamp] = await Promise.all([registerUser(), createProduct('10.00')]);
  await until(
    () => graph.databases.query('orders', 'select price from products_copy where id = $1', [lamp]),
    ([copy]) => copy?.price === '10.00',
  );
  // Here the owner's change never arrives as an event: the update in SQL records none.
  await graph.databases.query('products', 'update products set price = 12.50 where id = $1', [lamp]);
  const { data } = await place(customer, [{ productId: lamp, quantity: 2 }]);
  expect(data.placeOrder).toMatchObject({
    status: 'CONFIRMED',
    total: { amount: '25.00' },
    items: [{ unitPrice: { amount: '12.50' }, lineTotal: { amount: '25.00' } }],
  });
  expect(data.placeOrder.history.map(({ type }: { type: string }) => type)).toEqual([
    'OrderPlaced',
    'OrderRepriced',
    'OrderConfirmed',
  ]);
  expect((await balanceOf(customer)).balance).toBe('75.00');
});

describe('cancelling', () => {
  test('a confirmed order gives stock and money back, once', async () => {
    const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
    const { data: placed } = await place(customer, [{ productId: lamp, quantity: 2 }]);
    const { data, errors } = await cancel(placed.placeOrder.id);
    expect(errors).toBeUndefined();
    expect(data.cancelOrder).toMatchObject({ status: 'CANCELLED', rejection: null, saga: { status: 'COMPENSATED' } });
    expect(outcomes(data.cancelOrder)).toEqual([
      'reserve-stock SUCCEEDED',
      'charge-account SUCCEEDED',
      'confirm-stock SUCCEEDED',
      'refund-account SUCCEEDED',
      'release-stock SUCCEEDED',
    ]);
    const { version } = data.cancelOrder;
    expect(data.cancelOrder.history.at(-1)).toMatchObject({ type: 'OrderCancelled', version });
    expect((await cancel(placed.placeOrder.id)).data.cancelOrder).toMatchObject({ status: 'CANCELLED', version });
    expect(await stockOf(lamp)).toEqual({ onHand: 5, reserved: 0, available: 5 });
    const { balance, entries } = await balanceOf(customer);
    expect(balance).toBe('100.00');
    expect(entries.map(({ reason }: { reason: string }) => reason)).toEqual(['refund', 'charge', 'deposit']);
    const { data: after } = await graph.ask(
      `{ user(id: "${customer}") { orderStats { orderCount } } product(id: "${lamp}") { sales { unitsSold } } }`,
    );
    expect(after).toEqual({ user: { orderStats: { orderCount: 0 } }, product: { sales: { unitsSold: 0 } } });
    // The copy by which products sorts follows.
    await until(
      () => graph.databases.query('products', 'select units_sold from products where id = $1', [lamp]),
      ([product]) => product?.units_sold === '0',
    );
  });

  test('an imported order moves neither stock nor money: nothing of it was ever reserved or charged', async () => {
    const [before] = await graph.databases.query('products', 'select sum(on_hand) as stock from stock');
    const { data: balance } = await graph.ask('{ user(id: "CG-12520") { account { balance { amount } } } }');
    const { data } = await cancel('CA-2016-152156');
    expect(data.cancelOrder).toMatchObject({ status: 'CANCELLED', saga: null });
    expect((await cancel('CA-2016-152156')).data.cancelOrder.version).toBe(3);
    await until(
      () => graph.databases.query('products', "select status from reservations where order_id = 'CA-2016-152156'"),
      ([row]) => row?.status === 'RELEASED',
    );
    expect(await graph.databases.query('products', 'select sum(on_hand) as stock from stock')).toEqual([before]);
    expect((await graph.ask('{ user(id: "CG-12520") { account { balance { amount } } } }')).data).toEqual(balance);
  });

  test.each([
    ['nothing', 'NOT_FOUND', { field: 'id' }],
    ['a rejected order', 'CONFLICT', { reason: 'ORDER_REJECTED' }],
  ])('%s is refused', async (what, code, details) => {
    let id = 'nothing';
    if (what !== 'nothing') {
      id = (await place(await registerUser('0'), [{ productId: await createProduct(), quantity: 1 }])).data.placeOrder
        .id;
    }
    const { data, errors } = await cancel(id);
    expect(data).toBeNull();
    expect(errors?.[0]?.extensions).toMatchObject({ code, ...details });
  });

  test('an order that is still being placed ends cancelled, with nothing reserved and nothing charged', async () => {
    const [customer, lamp] = await Promise.all([registerUser('1000'), createProduct('10.00', 100)]);
    // Ten of them, each cancelled a little later in its placement.
    await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        const { data } = await place(customer, [{ productId: lamp, quantity: 1 }], randomUUID(), i * 4);
        expect((await cancel(data.placeOrder.id)).data.cancelOrder.status).toBe('CANCELLED');
        await until(
          async () => (await graph.ask(`{ order(id: "${data.placeOrder.id}") { status saga { status } } }`)).data.order,
          (order) => order.status === 'CANCELLED' && order.saga.status === 'COMPENSATED',
        );
      }),
    );
    expect(await stockOf(lamp)).toEqual({ onHand: 100, reserved: 0, available: 100 });
    expect((await balanceOf(customer)).balance).toBe('1000.00');
  });
});

describe('money and stock are guarded by their owners', () => {
  test('of twenty orders for three units at once, three are confirmed', async () => {
    const [customer, lamp] = await Promise.all([registerUser('1000'), createProduct('10.00', 3)]);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => place(customer, [{ productId: lamp, quantity: 1 }])),
    );
    const confirmed = answers.filter(({ data }) => data.placeOrder.status === 'CONFIRMED');
    expect(confirmed).toHaveLength(3);
    expect(await stockOf(lamp)).toEqual({ onHand: 0, reserved: 0, available: 0 });
    expect((await balanceOf(customer)).balance).toBe('970.00');
  });

  test('of twenty orders that the account pays three of, three are confirmed', async () => {
    const [customer, lamp] = await Promise.all([registerUser('35'), createProduct('10.00', 100)]);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => place(customer, [{ productId: lamp, quantity: 1 }])),
    );
    expect(answers.filter(({ data }) => data.placeOrder.status === 'CONFIRMED')).toHaveLength(3);
    expect(await stockOf(lamp)).toEqual({ onHand: 97, reserved: 0, available: 97 });
    expect((await balanceOf(customer)).balance).toBe('5.00');
  });

  test.each([
    ['users', 'update accounts set balance = -0.01', 'accounts_balance_check'],
    ['products', 'update stock set on_hand = -1', 'stock_'],
    ['products', 'update stock set reserved = on_hand + 1', 'stock_'],
  ] as const)('the database of %s refuses: %s', async (service, statement, constraint) => {
    await expect(graph.databases.query(service, statement)).rejects.toThrow(constraint);
  });
});

test('read models are rebuilt while orders are placed, and none is missing or counted twice', async () => {
  const [customer, lamp] = await Promise.all([registerUser('1000'), createProduct('1.00', 1000)]);
  let placing = true;
  const clients = Array.from({ length: 4 }, async () => {
    let placed = 0;
    while (placing) {
      const { data } = await place(customer, [{ productId: lamp, quantity: 1 }]);
      expect(data.placeOrder.status).toBe('CONFIRMED');
      placed += 1;
    }
    return placed;
  });
  for (let n = 0; n < 3; n++) await rebuildReadModels(graph.databases.urls.orders);
  placing = false;
  const placed = (await Promise.all(clients)).reduce((sum, count) => sum + count, 0);
  expect(placed).toBeGreaterThan(4);
  const { data } = await graph.ask(
    `{ user(id: "${customer}") { orders { totalCount } orderStats { orderCount } } product(id: "${lamp}") { sales { unitsSold } } }`,
  );
  expect(data).toEqual({
    user: { orders: { totalCount: placed }, orderStats: { orderCount: placed } },
    product: { sales: { unitsSold: placed } },
  });
});

test.each([
  ['the last of six digits', 999_998, '999999', '1000000'],
  ['the last of seven', 9_999_998, '9999999', '10000000'],
])('order numbers grow beyond %s', async (_what, last, ...numbers) => {
  const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
  await graph.databases.query('orders', "select setval('order_numbers', $1)", [last]);
  const placed = [];
  for (const _number of numbers) {
    const { data, errors } = await place(customer, [{ productId: lamp, quantity: 1 }]);
    expect(errors).toBeUndefined();
    placed.push(data.placeOrder);
  }
  const year = new Date().getUTCFullYear();
  expect(placed.map(({ number, status }) => [number, status])).toEqual(
    numbers.map((number) => [`TR-${year}-${number}`, 'CONFIRMED']),
  );
  for (const { id, number } of placed) {
    expect(
      (await graph.ask('query ByNumber($number: String) { order(number: $number) { id } }', { number })).data,
    ).toEqual({
      order: { id },
    });
  }
});

test('a negative waiting time is refused', async () => {
  const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
  const { data, errors } = await place(customer, [{ productId: lamp, quantity: 1 }], randomUUID(), -1);
  expect(data).toBeNull();
  expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT', field: 'waitMs', reason: 'OUT_OF_RANGE' } }]);
});

describe('each field of a mutation returns the state after itself', () => {
  const STATE = `id number status version total { amount } items { lineTotal { amount } }
    history { type version } saga { status }
    customer { orders { totalCount } orderStats { orderCount totalSpent { amount } } }`;
  const SEVERAL = `mutation Several($input: PlaceOrderInput!, $settled: PlaceOrderInput!, $key: ID!, $other: ID!) {
    pending: placeOrder(input: $input, idempotencyKey: $key) { ${STATE} }
    another: placeOrder(input: $settled, idempotencyKey: $other) { ${STATE} }
    again: placeOrder(input: $settled, idempotencyKey: $key) { ${STATE} }
  }`;

  test.each(['the gateway', 'the subgraph'])('through %s', async (where) => {
    const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
    const items = [{ productId: lamp, quantity: 1 }];
    const url = where === 'the gateway' ? graph.urls.gateway : graph.urls.orders;
    const { data, errors } = await ask(url, SEVERAL, {
      input: { customerId: customer, items, waitMs: 0 },
      settled: { customerId: customer, items, waitMs: 4000 },
      key: randomUUID(),
      other: randomUUID(),
    });
    expect(errors).toBeUndefined();
    const { pending, another, again } = data;
    expect(again.id).toBe(pending.id);
    for (const order of [another, again]) {
      expect(order).toMatchObject({ status: 'CONFIRMED', version: 2, saga: { status: 'COMPLETED' } });
      expect(order.history.map(({ version }: { version: number }) => version)).toEqual([1, 2]);
    }
    expect(pending.history).toHaveLength(pending.version);
    expect(pending.customer.orders.totalCount).toBe(1);
    expect(again.customer).toEqual({
      orders: { totalCount: 2 },
      orderStats: { orderCount: 2, totalSpent: { amount: '20.00' } },
    });

    const cancelled = await ask(
      url,
      `mutation Cancel($id: ID!, $input: PlaceOrderInput!, $key: ID!) {
        gone: cancelOrder(id: $id, reason: "changed my mind") { ${STATE} }
        next: placeOrder(input: $input, idempotencyKey: $key) { ${STATE} }
        same: cancelOrder(id: $id, reason: "changed my mind") { ${STATE} }
      }`,
      { id: pending.id, input: { customerId: customer, items, waitMs: 4000 }, key: randomUUID() },
    );
    expect(cancelled.errors).toBeUndefined();
    const { gone, next, same } = cancelled.data;
    expect(gone).toMatchObject({ status: 'CANCELLED', version: 3, saga: { status: 'COMPENSATED' } });
    expect(gone.customer.orderStats).toEqual({ orderCount: 1, totalSpent: { amount: '10.00' } });
    expect(next.customer.orders.totalCount).toBe(3);
    expect(next.customer.orderStats).toEqual({ orderCount: 2, totalSpent: { amount: '20.00' } });
    expect(same).toEqual({ ...gone, customer: next.customer });
  });
});

test('an order as it stood shows no saga that went on later', async () => {
  const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
  const { data: placed } = await place(customer, [{ productId: lamp, quantity: 1 }]);
  const { id } = placed.placeOrder;
  const asOf = async (moment: string) =>
    (
      await graph.ask(
        'query AsOf($id: ID, $asOf: DateTime) { order(id: $id, asOf: $asOf) { status saga { status finishedAt } } }',
        { id, asOf: moment },
      )
    ).data.order;
  const confirmedAt = placed.placeOrder.saga.finishedAt;
  const completed = { status: 'CONFIRMED', saga: { status: 'COMPLETED', finishedAt: confirmedAt } };
  expect(await asOf(confirmedAt)).toEqual(completed);
  await cancel(id);
  expect(await asOf(confirmedAt)).toEqual({ status: 'CONFIRMED', saga: null });
  expect(await asOf(new Date(Date.now() + 60_000).toISOString())).toMatchObject({
    status: 'CANCELLED',
    saga: { status: 'COMPENSATED' },
  });
});

test('all fields of a request together wait no longer than one, which is less than the time-out of the gateway', async () => {
  const [customer, lamp] = await Promise.all([registerUser(), createProduct()]);
  const products = new pg.Client(graph.databases.urls.products);
  await products.connect();
  await products.query("begin; select from consumer_positions where source = 'orders' for update");
  try {
    const { data, errors } = await graph.ask(
      `mutation Slow($input: PlaceOrderInput!, $a: ID!, $b: ID!) {
        a: placeOrder(input: $input, idempotencyKey: $a) { id status }
        b: placeOrder(input: $input, idempotencyKey: $b) { id status }
        c: cancelOrder(id: "US-2015-123918", reason: "changed my mind") { id status }
      }`,
      {
        input: { customerId: customer, items: [{ productId: lamp, quantity: 1 }], waitMs: 1_000_000 },
        a: randomUUID(),
        b: randomUUID(),
      },
    );
    expect(errors).toBeUndefined();
    expect([data.a.status, data.b.status, data.c.status]).toEqual(['PENDING', 'PENDING', 'CANCELLED']);
  } finally {
    await products.end();
  }
});

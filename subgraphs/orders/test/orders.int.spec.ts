import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';
import { ask } from '../../../test/harness/graphql-client.ts';
import { rebuildReadModels } from '../src/service.js';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

const READ_MODELS = ['orders_read', 'order_items_read', 'order_counts', 'user_order_stats', 'product_sales'];

async function readModels(): Promise<unknown[]> {
  const sums = READ_MODELS.map((table) =>
    graph.databases.query('orders', `select count(*), md5(string_agg(t::text, '|' order by t::text)) from ${table} t`),
  );
  return Promise.all(sums);
}

async function append(orderId: string, version: number, type: string, data: object, at: string): Promise<void> {
  await graph.databases.query(
    'orders',
    'insert into order_events (order_id, version, type, schema_version, data, at) values ($1, $2, $3, 1, $4, $5)',
    [orderId, version, type, JSON.stringify(data), at],
  );
}

describe('an order as it stood', () => {
  test.each([
    ['before it was placed', '2016-11-07T23:59:59.999Z', null],
    ['when it was placed', '2016-11-08T00:00:00Z', 'PENDING'],
    ['just before it was confirmed', '2016-11-11T11:59:59.999Z', 'PENDING'],
    ['when it was confirmed', '2016-11-11T12:00:00Z', 'CONFIRMED'],
    ['now', new Date().toISOString(), 'CONFIRMED'],
  ])('%s', async (_when, asOf, status) => {
    const { data, errors } = await graph.ask(
      `query ($asOf: DateTime) {
        order(number: "CA-2016-152156", asOf: $asOf) {
          status version updatedAt total { amount } saga { id } rejection
          customer { name orderStats { orderCount } } items { quantity product { name price { amount } } } history { type version }
        }
      }`,
      { asOf },
    );
    expect(errors).toBeUndefined();
    if (status === null) return expect(data.order).toBeNull();
    const version = status === 'PENDING' ? 1 : 2;
    expect(data.order).toMatchObject({ status, version, total: { amount: '993.90' }, saga: null, rejection: null });
    expect(data.order.history).toHaveLength(version);
    expect(data.order.items).toHaveLength(2);
    expect(data.order.customer).toEqual({ name: 'Claire Gute', orderStats: { orderCount: 3 } });
  });
});

test('its history holds what was agreed, exactly', async () => {
  const { data } = await graph.ask('{ order(id: "US-2015-123918") { history { type version at data } } }');
  expect(data.order.history).toEqual([
    {
      type: 'OrderPlaced',
      version: 1,
      at: '2015-10-15T00:00:00.000Z',
      data: {
        number: 'US-2015-123918',
        customerId: 'CG-12520',
        currency: 'USD',
        total: '136.72',
        lines: [
          { productId: 'FUR-FU-10004952', quantity: 6, unitPrice: '54.74', discount: '0.6', lineTotal: '131.38' },
          { productId: 'OFF-PA-10003001', quantity: 1, unitPrice: '6.68', discount: '0.2', lineTotal: '5.34' },
        ],
      },
    },
    { type: 'OrderConfirmed', version: 2, at: '2015-10-15T12:00:00.000Z', data: {} },
  ]);
});

test('every order of the history is listed once, newest first, whatever the page sizes', async () => {
  const walk = async (sizes: number[], filter: object) => {
    const seen: { id: string; placedAt: string }[] = [];
    let after: string | null = null;
    for (let i = 0; ; i++) {
      const { data } = await graph.ask(
        'query ($first: Int, $after: String, $filter: OrderFilter) { orders(first: $first, after: $after, filter: $filter) { totalCount nodes { id placedAt } pageInfo { hasNextPage endCursor } } }',
        { first: sizes[i % sizes.length], after, filter },
      );
      seen.push(...data.orders.nodes);
      if (!data.orders.pageInfo.hasNextPage) return { seen, total: data.orders.totalCount };
      after = data.orders.pageInfo.endCursor;
    }
  };
  const all = await walk([100], {});
  expect(all.total).toBe(5009);
  expect(new Set(all.seen.map((order) => order.id)).size).toBe(5009);
  const days = all.seen.map((order) => order.placedAt);
  expect(days).toEqual(days.toSorted().reverse());

  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 1, maxLength: 3 }),
      fc.date({ min: new Date('2014-01-01'), max: new Date('2018-01-01'), noInvalidDate: true }),
      fc.integer({ min: 1, max: 60 }),
      async (sizes, from, days) => {
        const filter = { placedAfter: from, placedBefore: new Date(from.getTime() + days * 86_400_000) };
        const part = await walk(sizes, filter);
        const expected = all.seen.filter(
          ({ placedAt }) => new Date(placedAt) > filter.placedAfter && new Date(placedAt) < filter.placedBefore,
        );
        expect(part.seen).toEqual(expected);
        expect(part.total).toBe(expected.length);
      },
    ),
    { numRuns: 10 },
  );
});

test('filters and totals agree', async () => {
  const { data } = await graph.ask(`{
    pending: orders(filter: { status: PENDING }) { totalCount nodes { id } }
    hers: orders(filter: { customerId: "CG-12520", status: CONFIRMED }) { totalCount nodes { number } }
    unknown: orders(filter: { customerId: "nobody" }) { totalCount nodes { id } }
    user(id: "CG-12520") { orders(first: 2) { totalCount pageInfo { hasNextPage } nodes { number } } orderStats { lastOrderAt } }
    product(id: "FUR-BO-10001798") { sales { unitsSold orderCount revenue { amount } } }
  }`);
  expect(data.pending).toEqual({ totalCount: 0, nodes: [] });
  expect(data.hers).toEqual({
    totalCount: 3,
    nodes: [{ number: 'CA-2017-164098' }, { number: 'CA-2016-152156' }, { number: 'US-2015-123918' }],
  });
  expect(data.unknown).toEqual({ totalCount: 0, nodes: [] });
  expect(data.user).toEqual({
    orders: {
      totalCount: 3,
      pageInfo: { hasNextPage: true },
      nodes: [{ number: 'CA-2017-164098' }, { number: 'CA-2016-152156' }],
    },
    orderStats: { lastOrderAt: '2017-01-26T00:00:00.000Z' },
  });
  expect(data.product.sales.unitsSold).toBe(12);
});

test('the sales of all products together equal the purchases of all customers together', async () => {
  const [users] = await graph.databases.query(
    'orders',
    'select sum(total_spent) as money, sum(order_count) as orders from user_order_stats',
  );
  const [products] = await graph.databases.query(
    'orders',
    'select sum(revenue) as money, sum(units_sold) as units from product_sales',
  );
  const [lines] = await graph.databases.query(
    'orders',
    'select sum(line_total) as money, sum(quantity) as units, count(*) as lines from order_items_read',
  );
  expect(users).toEqual({ money: lines?.money, orders: '5009' });
  expect(products).toEqual({ money: lines?.money, units: lines?.units });
  expect(lines?.lines).toBe('9994');
  const [sold] = await graph.databases.query('products', 'select sum(units_sold) as units from products');
  expect(sold).toEqual({ units: lines?.units });
});

describe('rebuilding the read models from the events', () => {
  test('gives what is there, row for row, also after they were damaged', async () => {
    const before = await readModels();
    await graph.databases.query('orders', 'delete from order_items_read where quantity > 3');
    await graph.databases.query('orders', "update orders_read set total = 0, status = 'PENDING'");
    await graph.databases.query('orders', 'truncate user_order_stats, product_sales, order_counts');
    expect(await rebuildReadModels(graph.databases.urls.orders)).toBe(10_018);
    expect(await readModels()).toEqual(before);
  });

  test('has rejected and cancelled orders, and counts only confirmed ones', async () => {
    const lines = [
      { productId: 'FUR-BO-10001798', quantity: 2, unitPrice: '10.00', discount: '0', lineTotal: '20.00' },
    ];
    const placed = (number: string) => ({ number, customerId: 'CG-12520', lines, total: '20.00' });
    await append('r', 1, 'OrderPlaced', placed('R-1'), '2020-01-01T00:00:00Z');
    await append('r', 2, 'OrderRejected', { reason: 'Only 1 left.' }, '2020-01-02T00:00:00Z');
    await append('c', 1, 'OrderPlaced', placed('C-1'), '2020-01-03T00:00:00Z');
    await append('c', 2, 'OrderConfirmed', {}, '2020-01-04T00:00:00Z');
    await append('c', 3, 'OrderCancelled', { reason: 'Changed my mind.' }, '2020-01-05T00:00:00Z');
    await append('p', 1, 'OrderPlaced', placed('P-1'), '2020-01-06T00:00:00Z');
    await rebuildReadModels(graph.databases.urls.orders);

    const { data } = await graph.ask(`{
      rejected: order(number: "R-1") { status rejection total { amount } }
      cancelled: order(number: "C-1") { status version rejection }
      pending: orders(filter: { status: PENDING }) { totalCount nodes { number } }
      user(id: "CG-12520") { orders { totalCount } orderStats { orderCount totalSpent { amount } lastOrderAt } }
      product(id: "FUR-BO-10001798") { sales { unitsSold } }
      orders(first: 0) { totalCount }
    }`);
    expect(data.rejected).toEqual({ status: 'REJECTED', rejection: 'Only 1 left.', total: { amount: '20.00' } });
    expect(data.cancelled).toEqual({ status: 'CANCELLED', version: 3, rejection: null });
    expect(data.pending).toEqual({ totalCount: 1, nodes: [{ number: 'P-1' }] });
    expect(data.user.orders.totalCount).toBe(6);
    expect(data.user.orderStats).toEqual({
      orderCount: 3,
      totalSpent: { amount: '1148.78' },
      lastOrderAt: '2017-01-26T00:00:00.000Z',
    });
    expect(data.product.sales.unitsSold).toBe(12);
    expect(data.orders.totalCount).toBe(5012);
  });
});

describe('what a client may send', () => {
  const cursor = (...position: unknown[]) =>
    Buffer.from(JSON.stringify(['orders:newest', ...position])).toString('base64url');

  test.each([
    ['a day that does not exist', cursor('2016-02-30T00:00:00.000Z', 'x')],
    ['an hour that does not exist', cursor('2016-02-28T24:00:00.000Z', 'x')],
    ['the year 0', cursor('0000-01-01T00:00:00.000Z', 'x')],
    ['half a character', cursor('2016-02-28T00:00:00.000Z', '\ud800')],
    ['a number', cursor(20160228, 'x')],
    ['no end', cursor('2016-02-28T00:00:00.000Z', 'x'.repeat(100_000))],
  ])('a forged cursor with %s is refused', async (_what, after) => {
    const answers = await Promise.all([
      graph.ask('query Page($after: String) { orders(after: $after) { nodes { id } } }', { after }),
      graph.ask('query Theirs($after: String) { user(id: "CG-12520") { orders(after: $after) { nodes { id } } } }', {
        after,
      }),
    ]);
    for (const { errors } of answers) {
      expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT', field: 'after', reason: 'CURSOR' } }]);
    }
  });

  test.each([
    ['PRICE_ASC', '1e400'],
    ['PRICE_DESC', '-1e400'],
    ['BEST_SELLING', '1e300'],
    ['NEWEST', '"2016-02-30T00:00:00.000Z"'],
    ['NEWEST', '"0000-12-31T00:00:00.000Z"'],
    ['NAME', '"\\udc00"'],
  ])('a forged cursor of products by %s with %s is refused', async (sort, value) => {
    const text = `["products:${sort}",${value},"x"]`;
    const { errors } = await graph.ask(
      'query Page($after: String, $sort: ProductSort) { products(after: $after, sort: $sort) { nodes { id } } }',
      { after: Buffer.from(text).toString('base64url'), sort },
    );
    expect(errors).toMatchObject([{ extensions: { code: 'BAD_USER_INPUT', field: 'after', reason: 'CURSOR' } }]);
  });

  test('an empty customer id matches no customer: no orders, none counted', async () => {
    const { data, errors } = await graph.ask(
      `query Nobodys($filter: OrderFilter) {
        orders(filter: $filter) { totalCount nodes { id } }
        confirmed: orders(filter: { customerId: "", status: CONFIRMED }) { totalCount nodes { id } }
      }`,
      { filter: { customerId: '' } },
    );
    expect(errors).toBeUndefined();
    expect(data.orders).toEqual({ totalCount: 0, nodes: [] });
    expect(data.confirmed).toEqual({ totalCount: 0, nodes: [] });
    const entities = await ask(
      graph.urls.orders,
      `query Entities($representations: [_Any!]!) {
        _entities(representations: $representations) { ... on User { orders { totalCount nodes { id } } } }
      }`,
      { representations: [{ __typename: 'User', id: '' }] },
    );
    expect(entities.data._entities).toEqual([{ orders: { totalCount: 0, nodes: [] } }]);
  });

  test('a range of dates that ends before it begins is refused', async () => {
    const { errors } = await graph.ask(
      'query Never($filter: OrderFilter) { orders(filter: $filter) { totalCount nodes { id } } }',
      { filter: { placedAfter: '2016-02-01T00:00:00Z', placedBefore: '2016-01-01T00:00:00Z' } },
    );
    expect(errors).toMatchObject([
      { extensions: { code: 'BAD_USER_INPUT', field: 'filter.placedAfter', reason: 'EMPTY_RANGE' } },
    ]);
  });

  test.each(['Order', 'User', 'Product'])('a reference to %s without an id is null', async (__typename) => {
    const { data, errors } = await ask(
      graph.urls.orders,
      'query Entities($representations: [_Any!]!) { _entities(representations: $representations) { __typename } }',
      { representations: [{ __typename, id: null }, { __typename }, { __typename, id: {} }] },
    );
    expect(errors).toBeUndefined();
    expect(data._entities).toEqual([null, null, null]);
  });
});

test('counters at the end of their type still read', async () => {
  const COUNTED = `query Counted {
    user(id: "AA-10315") { orders(first: 0) { totalCount } orderStats { orderCount totalSpent { amount } } }
    product(id: "FUR-BO-10001798") { sales { unitsSold orderCount revenue { amount } } }
    orders(first: 0, filter: { customerId: "AA-10315" }) { totalCount }
  }`;
  await graph.databases.query(
    'orders',
    `update user_order_stats set order_count = 9223372036854775806, total_spent = 9999999999999999.99 where user_id = 'AA-10315';
     update product_sales set units_sold = 9223372036854000000, order_count = 2147483648, revenue = 9999999999999999.99
     where product_id = 'FUR-BO-10001798';
     update order_counts set count = 3000000000 where customer_id = 'AA-10315'`,
  );
  const { data, errors } = await graph.ask(COUNTED, {}, { 'x-max-staleness': '0' });
  expect(errors).toBeUndefined();
  const most = 2_147_483_647;
  expect(data).toEqual({
    user: {
      orders: { totalCount: most },
      orderStats: { orderCount: most, totalSpent: { amount: '9999999999999999.99' } },
    },
    product: { sales: { unitsSold: most, orderCount: most, revenue: { amount: '9999999999999999.99' } } },
    orders: { totalCount: most },
  });

  // An order that adds to them is confirmed.
  const placed = await graph.ask(
    `mutation Place($key: ID!) {
      deposit(userId: "AA-10315", amount: "1000000", idempotencyKey: $key) { balance { amount } }
      placeOrder(
        input: { customerId: "AA-10315", items: [{ productId: "FUR-BO-10001798", quantity: 1 }], waitMs: 4000 }
        idempotencyKey: $key
      ) { status total { amount } }
    }`,
    { key: 'counters' },
  );
  expect(placed.data.placeOrder.status).toBe('CONFIRMED');
  const after = await graph.ask(COUNTED, {}, { 'x-max-staleness': '0' });
  expect(after.errors).toBeUndefined();
  expect(after.data.user.orderStats.totalSpent.amount).toMatch(/^1000000000000\d{4}\.\d\d$/);
  await rebuildReadModels(graph.databases.urls.orders);
});

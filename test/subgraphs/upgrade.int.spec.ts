import { definition as products } from '@tributary/products';
import { readSuperstore } from '@tributary/superstore';
import { definition as users } from '@tributary/users';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { rebuildAtMigration } from '../harness/earlier-databases.ts';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { codesOf } from '../harness/graphql-client.ts';

/** The deepest attributes that version 0.1.0 accepted. */
const DEEP = `{"a": ${'['.repeat(4108)}1${']'.repeat(4108)}}`;
/** Version 0.1.0 accepted control characters in keys. */
const CONTROL_KEY = 'a\u0001key\twith\u009fcontrol characters';
const REFUNDED_ORDER = 'order-whose-refund-was-blocked';
const CHARGED_ORDER = 'order-whose-charge-was-blocked';
const REFUSED_ORDER = 'order-whose-charge-was-refused';

let databases: TestDatabases;
let graph: TestGraph;
beforeAll(async () => {
  databases = await cloneDatabases();
  const [ofUsers, ofProducts] = await Promise.all([users.load(), products.load()]);
  await rebuildAtMigration(databases, 'users', ofUsers.migrations, '0004-payments', ofUsers.importHistory as never);
  await rebuildAtMigration(
    databases,
    'products',
    ofProducts.migrations,
    '0004-reservations',
    ofProducts.importHistory as never,
  );
  await writeEarlierUsers();
  await writeEarlierProducts();
  const request = { scale: 1, readHistory: readSuperstore };
  await users.setUp({ ...request, databaseUrl: databases.urls.users });
  await products.setUp({ ...request, databaseUrl: databases.urls.products });
  graph = await startGraph({ databases });
});
afterAll(() => (graph ? graph.stop() : databases?.drop()));

/** What clients and attackers have left in a database of version 0.1.0. */
async function writeEarlierUsers(): Promise<void> {
  const entry = (userId: string, amount: string, reason: string, orderId: string | null, key: string) =>
    databases.query(
      'users',
      `with entry as (
         insert into account_entries (user_id, amount, reason, order_id, idempotency_key) values ($1, $2, $3, $4, $5)
       )
       update accounts set balance = balance + $2::numeric, version = version + 1 where user_id = $1`,
      [userId, amount, reason, orderId, key],
    );
  await entry('CG-12520', '5', 'deposit', null, 'stored key');
  await entry('CG-12520', '5', 'deposit', null, CONTROL_KEY);
  await entry('CG-12520', '-200', 'charge', REFUNDED_ORDER, `charge:${REFUNDED_ORDER}`);
  await entry('DV-13045', '0.01', 'deposit', null, `refund:${REFUNDED_ORDER}`);
  await entry('DV-13045', '0.01', 'deposit', null, `charge:${CHARGED_ORDER}`);
  await databases.query(
    'users',
    `insert into payments (order_id, user_id, amount, status, version)
     values ($1, 'CG-12520', 200, 'CHARGED', 1), ($2, 'CG-12520', 5000, 'REFUNDED', 2)`,
    [REFUNDED_ORDER, REFUSED_ORDER],
  );
  await deadLetter(1_000_001, 'RefundPayment', REFUNDED_ORDER, {});
  await deadLetter(1_000_002, 'ChargeAccount', CHARGED_ORDER, { userId: 'CG-12520', amount: '30.00', currency: 'USD' });
  await deadLetter(1_000_003, 'RefundPayment', REFUSED_ORDER, {});
  const user = (id: string, name: string, email: string) =>
    databases.query(
      'users',
      `with made as (insert into users (id, name, email) values ($1, $2, $3) returning id)
       insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
       select gen_random_uuid(), 'UserRegistered', 1, 'User', id, 1, now(),
         jsonb_build_object('name', $2::text, 'email', $3::text, 'segment', null, 'status', 'ACTIVE') from made`,
      [id, name, email],
    );
  await user('decomposed', 'Jose\u0301 Nu\u0301n\u0303ez', 'jose\u0301@decomposed.test');
  await user('twin-1', 'Twin', 'twi\u0301n@twins.test');
  await user('twin-2', 'Twin', 'tw\u00edn@twins.test');
  await user('slashes', 'Meyer/Schulz GmbH', 'meyer@slashes.test');
}

async function deadLetter(position: number, type: string, orderId: string, data: object): Promise<void> {
  const event = {
    position,
    id: `command-${position}`,
    source: 'orders',
    type,
    schemaVersion: 1,
    aggregateType: 'Placement',
    aggregateId: orderId,
    aggregateVersion: 3,
    occurredAt: new Date().toISOString(),
    correlationId: null,
    causationId: null,
    traceparent: null,
    data,
  };
  await databases.query(
    'users',
    `insert into dead_letters (consumer, source, position, aggregate_type, aggregate_id, event, error, attempts)
     values ('users', 'orders', $1, 'Placement', $2, $3, 'duplicate key value violates unique constraint', 1)`,
    [position, orderId, JSON.stringify(event)],
  );
}

async function writeEarlierProducts(): Promise<void> {
  const product = (id: string, name: string, sku: string, attributes: string) =>
    databases.query(
      'products',
      `with product as (
         insert into products (id, sku, name, category, sub_category, price, attributes)
         values ($1, $3, $2, 'Old', 'Earlier', 1, $4) returning *
       ), stock as (
         insert into stock (product_id, on_hand) select id, 7 from product
       )
       insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
       select gen_random_uuid(), 'ProductCreated', 1, 'Product', id, 1, now(), jsonb_build_object('sku', sku, 'name', name,
         'category', category, 'subCategory', sub_category, 'price', price::text, 'attributes', attributes, 'status', status)
       from product`,
      [id, name, sku, attributes],
    );
  await product('deep', 'Nested', 'DEEP-1', DEEP);
  await product('dotted', 'Cafe\u0301 chair (St.John/Rivers)', 'DOT-1', '{}');
  await databases.query(
    'products',
    `insert into stock_receipts (product_id, quantity, reason, idempotency_key)
     values ('deep', 7, 'restock', 'stored key'), ('deep', 7, 'restock', $1)`,
    [CONTROL_KEY],
  );
}

const balanceOf = async (id: string) =>
  (await graph.ask('query Balance($id: ID!) { user(id: $id) { account { balance { amount } } } }', { id })).data.user
    .account.balance.amount;

test.each(['stored key', CONTROL_KEY])(
  'a key that is stored already is recognised: the retry of a deposit or a restock moves nothing (%j)',
  async (key) => {
    const before = await balanceOf('CG-12520');
    const { data, errors } = await graph.ask(
      `mutation Retry($user: ID!, $product: ID!, $key: ID!) {
      deposit(userId: $user, amount: "5", idempotencyKey: $key) { balance { amount } }
      restock(id: $product, quantity: 7, idempotencyKey: $key) { stock { onHand } }
    }`,
      { user: 'CG-12520', product: 'deep', key },
    );
    expect(errors).toBeUndefined();
    expect(data).toEqual({ deposit: { balance: { amount: before } }, restock: { stock: { onHand: 7 } } });
    const reused = await graph.ask(
      'mutation Reuse($user: ID!, $key: ID!) { deposit(userId: $user, amount: "6", idempotencyKey: $key) { balance { amount } } }',
      { user: 'CG-12520', key },
    );
    expect(codesOf(reused)).toEqual(['CONFLICT']);
  },
);

describe('a charge and a refund that a stranger blocked with a deposit under their key', () => {
  test('take effect when their dead letters are retried, each once', async () => {
    const [payer, stranger] = [await balanceOf('CG-12520'), await balanceOf('DV-13045')];
    const env = { USERS_DATABASE_URL: databases.urls.users, ORDERS_URL: graph.urls.orders };
    const operations = await users.openAdmin(env, pino({ level: 'silent' }));
    const retried = await operations.retryDeadLetters().finally(() => operations.close());
    expect(retried.map(({ aggregateId, error }) => ({ aggregateId, error }))).toEqual(
      expect.arrayContaining([
        { aggregateId: REFUNDED_ORDER, error: null },
        { aggregateId: CHARGED_ORDER, error: null },
        { aggregateId: REFUSED_ORDER, error: null },
      ]),
    );
    expect(Number(await balanceOf('CG-12520'))).toBeCloseTo(Number(payer) + 200 - 30, 2);
    expect(await balanceOf('DV-13045')).toBe(stranger);
  });

  test('a repeated reply to the refund of a refused charge has the amount 0', async () => {
    const answers = await databases.query(
      'users',
      "select data ->> 'amount' as amount from outbox where type = 'PaymentRefunded' and aggregate_id = $1",
      [REFUSED_ORDER],
    );
    expect(answers).toEqual([{ amount: '0.00' }]);
  });
});

describe('attributes that are nested too deep to be read', () => {
  test('are replaced and stored in replaced_attributes, and the product is listed, in its events, and can be ordered', async () => {
    const { data, errors } = await graph.ask(
      'query Newest($sort: ProductSort) { products(first: 100, sort: $sort) { nodes { id attributes version } } }',
      { sort: 'NEWEST' },
    );
    expect(errors).toBeUndefined();
    expect(data.products.nodes).toContainEqual({ id: 'deep', attributes: {}, version: 2 });
    const [replaced] = await databases.query(
      'products',
      "select attributes::text as attributes from replaced_attributes where product_id = 'deep' and version = 1",
    );
    expect(String(replaced?.attributes).replaceAll(' ', '')).toBe(DEEP.replaceAll(' ', ''));

    let after = 0;
    for (let head = 1; after < head; after += 500) {
      const page = await fetch(`${graph.urls.products}/ledger?after=${after}&limit=500`);
      expect(page.status).toBe(200);
      ({ head } = (await page.json()) as { head: number });
    }

    const placed = await graph.ask(
      'mutation Order($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { status } }',
      { input: { customerId: 'AA-10375', items: [{ productId: 'deep', quantity: 1 }], waitMs: 10_000 }, key: 'deep' },
    );
    expect(placed.data).toEqual({ placeOrder: { status: 'CONFIRMED' } });
  });

  test('cannot be written by an older process that runs beside a new one', async () => {
    const update = databases.query('products', `update products set attributes = '${DEEP}' where id = 'dotted'`);
    await expect(update).rejects.toThrow(/products_attributes_depth/);
  });
});

describe('a search finds what was stored before:', () => {
  test.each([
    ['Jos\u00e9', ['decomposed']],
    ['nu\u0301n\u0303ez', ['decomposed']],
    ['Schulz', ['slashes']],
    ['Meyer/Schulz', ['slashes']],
    ['tw\u00edn', ['twin-1', 'twin-2']],
  ])('users by %j', async (search, ids) => {
    const { data } = await graph.ask(
      'query Search($search: String) { users(search: $search) { totalCount nodes { id } } }',
      {
        search,
      },
    );
    expect(data.users).toEqual({ totalCount: ids.length, nodes: ids.map((id) => ({ id })) });
  });

  test.each(['St.John', 'Rivers', 'caf\u00e9', 'DOT-1'])('products by %j', async (text) => {
    const { data } = await graph.ask(
      'query Search($filter: ProductFilter) { products(filter: $filter) { totalCount nodes { id } } }',
      { filter: { text } },
    );
    expect(data.products).toEqual({ totalCount: 1, nodes: [{ id: 'dotted' }] });
  });

  test('texts are in composed form, at the owner and in the copy, but for an e-mail address that another user has', async () => {
    const rows = await databases.query(
      'users',
      "select id, name, email, version from users where id in ('decomposed', 'twin-1', 'twin-2') order by id",
    );
    expect(rows).toEqual([
      { id: 'decomposed', name: 'Jos\u00e9 N\u00fa\u00f1ez', email: 'jos\u00e9@decomposed.test', version: 2 },
      { id: 'twin-1', name: 'Twin', email: 'twi\u0301n@twins.test', version: 1 },
      { id: 'twin-2', name: 'Twin', email: 'tw\u00edn@twins.test', version: 1 },
    ]);
    const copies = await databases.query('orders', "select name, version from users_copy where id = 'decomposed'");
    expect(copies).toEqual([{ name: 'Jos\u00e9 N\u00fa\u00f1ez', version: 2 }]);
  });
});

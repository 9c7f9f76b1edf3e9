import { type AfterMigrations, type Migrations, migrate, openDatabase } from '@tributary/postgres';
import type { Kysely } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cloneDatabases, createEmptyDatabases, type TestDatabases } from '../../../test/harness/databases.ts';
import { definition as orders } from '../src/index.js';
import { AppendConflictError, OrderEventStore, SNAPSHOT_EVERY } from '../src/order/event-store.js';
import { replay } from '../src/order/order.js';
import type { OrderEvent } from '../src/order/order-events.js';
import { deriveData, rebuildReadModels } from '../src/service.js';
import { migrations } from '../src/storage/migrations.js';
import type { OrdersTables } from '../src/storage/tables.js';

let databases: TestDatabases;
let db: Kysely<OrdersTables>;
let store: OrderEventStore;
beforeAll(async () => {
  databases = await cloneDatabases();
  db = openDatabase({ url: databases.urls.orders, applicationName: 'test' });
  store = new OrderEventStore(db);
});
afterAll(async () => {
  await db?.destroy();
  await databases?.drop();
});

const lines = [{ productId: 'P-1', quantity: 2, unitPrice: '5.00', discount: '0', lineTotal: '10.00' }];
const placed: OrderEvent = {
  type: 'OrderPlaced',
  data: { number: 'N-1', customerId: 'C-1', currency: 'USD', lines, total: '10.00' },
};
const confirmed: OrderEvent = { type: 'OrderConfirmed', data: {} };
const repriced = (n: number): OrderEvent => ({
  type: 'OrderRepriced',
  data: {
    lines: [{ ...lines[0], unitPrice: `${n}.00`, lineTotal: `${n * 2}.00` }] as typeof lines,
    total: `${n * 2}.00`,
  },
});
const loadOne = async (id: string) => (await store.load([id])).get(id) ?? null;

test('of two decisions on the same version of an order, one is appended and the other gets a conflict', async () => {
  await store.append([{ orderId: 'race', before: null, events: [placed] }], new Date());
  const before = await loadOne('race');
  const cancelled: OrderEvent = { type: 'OrderCancelled', data: { reason: 'no' } };
  const outcomes = await Promise.allSettled([
    store.append([{ orderId: 'race', before, events: [confirmed] }], new Date()),
    store.append([{ orderId: 'race', before, events: [cancelled] }], new Date()),
  ]);
  expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  expect(failed?.reason).toBeInstanceOf(AppendConflictError);
  expect((await store.ofOrders(['race'])).map(({ version }) => version)).toEqual([1, 2]);
});

test('one stale decision in a batch leaves nothing of the batch', async () => {
  await store.append([{ orderId: 'a', before: null, events: [placed] }], new Date());
  const stale = { orderId: 'a', before: null, events: [placed] };
  const fresh = { orderId: 'b', before: null, events: [placed] };
  await expect(store.append([fresh, stale], new Date())).rejects.toThrow(AppendConflictError);
  expect(await loadOne('b')).toBeNull();
});

test('an order does not go back in time when a clock does', async () => {
  await store.append([{ orderId: 'clock', before: null, events: [placed] }], new Date('2030-01-01'));
  await store.append(
    [{ orderId: 'clock', before: await loadOne('clock'), events: [confirmed] }],
    new Date('2020-01-01'),
  );
  expect((await store.ofOrders(['clock'])).map(({ at }) => at.getFullYear())).toEqual([2030, 2030]);
});

test('a long stream is read from its snapshot on, and is what all of its events make', async () => {
  await store.append([{ orderId: 'long', before: null, events: [placed] }], new Date());
  for (let n = 1; n < 2.5 * SNAPSHOT_EVERY; n += 10) {
    const events = Array.from({ length: 10 }, (_, i) => repriced(n + i));
    await store.append([{ orderId: 'long', before: await loadOne('long'), events }], new Date());
  }
  const whole = replay(await store.ofOrders(['long']));
  expect(await loadOne('long')).toEqual(whole);
  const [snapshot] = await databases.query('orders', "select version from order_snapshots where order_id = 'long'");
  expect(snapshot?.version).toBeGreaterThanOrEqual(2 * SNAPSHOT_EVERY);
  // What the snapshot stands for is not read: without those events the order is the same.
  await databases.query('orders', "delete from order_events where order_id = 'long' and version <= $1", [
    2 * SNAPSHOT_EVERY,
  ]);
  expect(await loadOne('long')).toEqual(whole);
  await databases.query('orders', "update order_snapshots set shape = 0 where order_id = 'long'");
  await expect(loadOne('long')).rejects.toThrow('expected event 1');
});

describe('what an older release stored', () => {
  test('is brought to the present shape when it is read, and stays as it was stored', async () => {
    const old = { number: 'N-0', customerId: 'C-1', lines, total: '10.00' };
    await databases.query(
      'orders',
      "insert into order_events (order_id, version, type, schema_version, data, at) values ('old', 1, 'OrderPlaced', 1, $1, now())",
      [JSON.stringify(old)],
    );
    expect(await loadOne('old')).toMatchObject({ number: 'N-0', currency: 'USD' });
    const [row] = await databases.query('orders', "select data from order_events where order_id = 'old'");
    expect(row?.data).toEqual(old);
  });

  test('what a newer release stored is refused', async () => {
    await databases.query(
      'orders',
      "insert into order_events (order_id, version, type, schema_version, data, at) values ('new', 1, 'OrderPlaced', 99, '{}', now())",
    );
    await expect(loadOne('new')).rejects.toThrow(
      'OrderPlaced is stored in schema version 99; this release reads versions up to 2.',
    );
    await databases.query('orders', "delete from order_events where order_id = 'new'");
  });

  test('a database of the release before orders could be placed is migrated, with its orders and an event of each', async () => {
    const older = await databasesBeforePlacement();
    const url = older.urls.orders;
    await orders.setUp({ databaseUrl: url, scale: 0, readHistory });
    expect(await older.query('orders', 'select id, status, currency, total from orders_read')).toEqual([
      { id: 'old', status: 'CONFIRMED', currency: 'USD', total: '10.00' },
    ]);
    expect(await older.query('orders', 'select type, aggregate_version, data from outbox')).toMatchObject([
      { type: 'OrderConfirmed', aggregate_version: 2, data: { number: 'N-0', status: 'CONFIRMED', lines } },
    ]);
    expect(await rebuildReadModels(url)).toBe(2);
    await older.drop();
  });

  test('is brought up once by several processes that start at the same time', async () => {
    const older = await databasesBeforePlacement();
    const setUp = () => orders.setUp({ databaseUrl: older.urls.orders, scale: 0, readHistory });
    expect(await Promise.all([setUp(), setUp(), setUp()])).toEqual([false, false, false]);
    expect(await older.query('orders', 'select id, version from orders_read')).toEqual([{ id: 'old', version: 2 }]);
    expect(await older.query('orders', 'select aggregate_id, aggregate_version from outbox')).toEqual([
      { aggregate_id: 'old', aggregate_version: 2 },
    ]);
    await older.drop();
  });

  test('is not published again by a later migration when retention has deleted its events', async () => {
    const older = await databasesBeforePlacement();
    const url = older.urls.orders;
    await orders.setUp({ databaseUrl: url, scale: 0, readHistory });
    await older.query('orders', 'select number_outbox(10)');
    await older.query('orders', 'delete from outbox; update ledger set deleted_to = head');
    await migrateOrders(url, { ...migrations, '9999-later': { up: async () => undefined } }, deriveData);
    expect(await older.query('orders', 'select id from orders_read')).toEqual([{ id: 'old' }]);
    expect(await older.query('orders', 'select id from outbox')).toEqual([]);
    await older.drop();
  });
});

const readHistory = () => {
  throw new Error('not expected');
};

/** Databases of the release before orders could be placed, with one order. */
async function databasesBeforePlacement(): Promise<TestDatabases> {
  const older = await createEmptyDatabases();
  await migrateOrders(
    older.urls.orders,
    Object.fromEntries(Object.entries(migrations).filter(([name]) => name < '0005')),
  );
  await older.query(
    'orders',
    "insert into order_events (order_id, version, type, data, at) values ('old', 1, 'OrderPlaced', $1, '2020-01-01'), ('old', 2, 'OrderConfirmed', '{}', '2020-01-02')",
    [JSON.stringify({ number: 'N-0', customerId: 'C-1', lines, total: '10.00' })],
  );
  return older;
}

async function migrateOrders(url: string, to: Migrations, after?: AfterMigrations): Promise<void> {
  const database = openDatabase<never>({ url, applicationName: 'test' });
  await migrate(database, to, after).finally(() => database.destroy());
}

import { NatsBus } from '@tributary/bus';
import type { OrdersAdmin } from '@tributary/orders';
import { AlreadyRunningError } from '@tributary/postgres';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';
import { haveNats, startNats, type TestNats } from '../../../test/harness/nats.ts';
import { openOrdersAdmin } from '../../../test/harness/orders-admin.ts';
import { until } from '../../../test/harness/until.ts';

const NATS_IS_HERE = haveNats();
if (!NATS_IS_HERE) test('copies fed over the NATS bus', ({ skip }) => skip('nats-server is not installed'));

describe.each(NATS_IS_HERE ? ['in-process', 'NATS'] : ['in-process'])('copies fed over the %s bus', (kind) => {
  let graph: TestGraph;
  let nats: TestNats | undefined;
  let operations: OrdersAdmin;
  beforeAll(async () => {
    if (kind === 'NATS') nats = await startNats();
    const bus = nats && new NatsBus({ url: nats.url, name: 'test', logger: pino({ level: 'silent' }) });
    // Without its look at the event log now and then: what is tested here is the bus.
    graph = await startGraph({ ...(bus && { bus }), ordersEnv: { EVENT_POLL_INTERVAL: '1h' } });
    operations = openOrdersAdmin(graph.databases.urls.orders, {
      USERS_URL: graph.urls.users,
      PRODUCTS_URL: graph.urls.products,
    });
  });
  afterAll(async () => {
    await operations?.close();
    await graph?.stop();
    await nats?.remove();
  });

  const nameInCopy = async (id: string) =>
    (await graph.databases.query('orders', 'select * from users_copy where id = $1', [id]))[0];
  const rename = (id: string, name: string) =>
    graph.ask('mutation ($id: ID!, $name: String!) { updateUser(id: $id, input: { name: $name }) { version } }', {
      id,
      name,
    });
  const level = () =>
    until(
      async () =>
        Object.values(
          (await (await fetch(`${graph.urls.orders}/copies`)).json()) as Record<
            string,
            { position: number; head: number }
          >,
        ),
      (copies) => copies.every(({ position, head }) => position === head),
    );
  const verified = async () => (await operations.verify(false)).map(({ differences }) => differences);

  test('after the import every copy equals its owner', async () => {
    expect(await verified()).toEqual([[], []]);
    const counts = await graph.databases.query(
      'orders',
      'select (select count(*) from users_copy) as users, (select count(*) from products_copy) as products',
    );
    expect(counts).toEqual([{ users: '793', products: '1862' }]);
  });

  test('a changed name shows in the orders of its user', async () => {
    await rename('CG-12520', 'Claire Gute-Meier');
    await until(
      async () =>
        (await graph.ask('{ order(number: "CA-2016-152156") { customer { name } } }')).data.order.customer.name,
      (name) => name === 'Claire Gute-Meier',
    );
    const { data } = await graph.ask(
      'mutation { updateProduct(id: "FUR-BO-10001798", input: { name: "A bookcase" }) { id } }',
    );
    await until(
      async () =>
        (await graph.ask('{ order(number: "CA-2016-152156") { items { product { name } } } }')).data.order.items[0]
          .product.name,
      (name) => name === 'A bookcase',
    );
    expect(data.updateProduct.id).toBe('FUR-BO-10001798');
  });

  test('transactions that commit in a different order than they began lose no event', async () => {
    const owner = () => new pg.Client(graph.databases.urls.users);
    const [early, late] = [owner(), owner()];
    await Promise.all([early.connect(), late.connect()]);
    const insert = `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
      values (gen_random_uuid(), 'UserRegistered', 1, 'User', $1, 1, now(), jsonb_build_object('name', $1::text, 'email', $1::text || '@order.test', 'segment', null, 'status', 'ACTIVE'))
      returning sequence`;
    const id = (name: string) => `${name}-${kind}`;
    await early.query('begin');
    const first = await early.query(insert, [id('early')]);
    await late.query('begin');
    const second = await late.query(insert, [id('late')]);
    expect(Number(first.rows[0].sequence)).toBeLessThan(Number(second.rows[0].sequence));
    await late.query('commit');
    await until(
      () => nameInCopy(id('late')),
      (row) => row !== undefined,
    );
    expect(await nameInCopy(id('early'))).toBeUndefined();
    await early.query('commit');
    await until(
      () => nameInCopy(id('early')),
      (row) => row !== undefined,
    );

    const gaps = await graph.databases.query(
      'users',
      'select count(*) as count, max(position) as last from outbox where position is not null',
    );
    expect(gaps[0]?.count).toBe(gaps[0]?.last);
    const positions = await graph.databases.query(
      'users',
      'select position from outbox where aggregate_id in ($1, $2) order by position',
      [id('early'), id('late')],
    );
    expect(positions).toHaveLength(2);
    // The owner has them too, for the comparisons that follow.
    for (const name of ['early', 'late']) {
      await early.query("insert into users (id, name, email) values ($1, $1, $1 || '@order.test')", [id(name)]);
    }
    await Promise.all([early.end(), late.end()]);
  });

  test('every command records its events once, with the request that caused it', async () => {
    const { data } = await graph.ask(
      'mutation { registerUser(input: { name: "E", email: "events@e.test" }) { id } }',
      {},
      { 'x-request-id': `request-${kind}`, traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
    );
    const { id } = data.registerUser;
    await graph.ask(`mutation { updateUser(id: "${id}", input: { status: SUSPENDED }) { id } }`);
    await graph.ask(`mutation { updateUser(id: "${id}", input: { status: SUSPENDED }) { id } }`);
    await graph.ask(
      `mutation { deposit(userId: "${id}", amount: "5", idempotencyKey: "e-${kind}") { balance { amount } } }`,
    );
    await graph.ask(
      `mutation { deposit(userId: "${id}", amount: "5", idempotencyKey: "e-${kind}") { balance { amount } } }`,
    );
    const refused = await graph.ask(
      `mutation { updateUser(id: "${id}", input: { email: "karance@example.com", expectedVersion: 9 }) { id } }`,
    );
    expect(refused.errors).toHaveLength(1);
    const events = await graph.databases.query(
      'users',
      'select type, aggregate_type, aggregate_version, correlation_id, traceparent, data from outbox where aggregate_id = $1 order by sequence',
      [id],
    );
    expect(events).toMatchObject([
      {
        type: 'UserRegistered',
        aggregate_version: 1,
        correlation_id: `request-${kind}`,
        traceparent: expect.stringContaining('0af7651916cd43dd8448eb211c80319c'),
        data: { name: 'E', email: 'events@e.test', segment: null, status: 'ACTIVE' },
      },
      { type: 'UserUpdated', aggregate_version: 2, data: { status: 'SUSPENDED' } },
      {
        type: 'AccountCredited',
        aggregate_type: 'Account',
        aggregate_version: 1,
        data: { amount: '5.00', balance: '5.00' },
      },
    ]);
    expect(events).toHaveLength(3);
  });

  test('a deletion erases name and e-mail address in the copy and in every past event for good', async () => {
    await rename('DV-13045', 'Darrin Secret');
    await until(
      () => nameInCopy('DV-13045'),
      (row) => row?.name === 'Darrin Secret',
    );
    await graph.ask('mutation { deleteUser(id: "DV-13045") { id } }');
    await until(
      () => nameInCopy('DV-13045'),
      (row) => row?.deleted === true,
    );
    const traces = async () =>
      JSON.stringify([
        await graph.databases.query('orders', "select * from users_copy where id = 'DV-13045'"),
        await graph.databases.query('orders', "select * from dead_letters where aggregate_id = 'DV-13045'"),
        await graph.databases.query('users', "select * from users where id = 'DV-13045'"),
        await graph.databases.query(
          'users',
          "select * from outbox where aggregate_type = 'User' and aggregate_id = 'DV-13045'",
        ),
      ]);
    expect(await traces()).not.toMatch(/darrin|secret|van huff/i);

    // Every event comes once more, from the first on, and then an old one.
    await graph.databases.query('orders', 'update consumer_positions set position = 0');
    await rename('CG-12520', `Claire again ${kind}`);
    await until(
      () => nameInCopy('CG-12520'),
      (row) => row?.name === `Claire again ${kind}`,
    );
    await level();
    expect(await nameInCopy('DV-13045')).toMatchObject({ name: 'Deleted user', deleted: true });
    expect(await traces()).not.toMatch(/darrin|secret|van huff/i);
    expect(await verified()).toEqual([[], []]);
  });

  test('a late event neither reverts a copy nor restores a deleted user', async () => {
    const late = (id: string, version: number) =>
      graph.databases.query(
        'users',
        `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
         values (gen_random_uuid(), 'UserUpdated', 1, 'User', $1, $2, now(), '{"name": "Late", "email": "late@l.test"}')`,
        [id, version],
      );
    await graph.ask('mutation { deleteUser(id: "AA-10480") { id } }');
    await until(
      () => nameInCopy('AA-10480'),
      (row) => row?.deleted === true,
    );
    await late('CG-12520', 0);
    await late('AA-10480', 1_000_000);
    await until(
      async () => (await graph.databases.query('users', 'select 1 from outbox where position is null')).length,
      (unnumbered) => unnumbered === 0,
    );
    await level();
    expect((await nameInCopy('CG-12520'))?.name).not.toBe('Late');
    expect(await nameInCopy('AA-10480')).toMatchObject({ name: 'Deleted user', deleted: true });
  });

  test('verify finds rows that were changed in the database, and --repair repairs them', async () => {
    await graph.databases.query('orders', "update users_copy set name = 'Nobody' where id = 'AA-10315'");
    await graph.databases.query('orders', "delete from users_copy where id = 'AA-10375'");
    await graph.databases.query('orders', "insert into users_copy values ('ghost', 'Ghost', 'g@g.test', 1)");
    await graph.databases.query(
      'orders',
      "update products_copy set sku = 'X', version = 99 where id = 'FUR-BO-10001798'",
    );
    const found = await operations.verify(true);
    expect(
      found.map(({ copy, differences, repaired }) => ({ copy, ids: differences.map(({ id }) => id).sort(), repaired })),
    ).toEqual([
      { copy: 'users', ids: ['AA-10315', 'AA-10375', 'ghost'], repaired: 3 },
      { copy: 'products', ids: ['FUR-BO-10001798'], repaired: 1 },
    ]);
    expect(await verified()).toEqual([[], []]);
  });

  test('a repair waits for a running event application, and does not revert it', async () => {
    await graph.databases.query('orders', "update users_copy set name = 'Nobody' where id = 'AA-10315'");
    // The consumer is about to apply an event: it has the lock, and the event is committed at its owner.
    const consumer = new pg.Client(graph.databases.urls.orders);
    await consumer.connect();
    await consumer.query("begin; select from consumer_positions where source = 'users' for update");
    try {
      const repaired = operations.verify(true);
      await until(
        () =>
          graph.databases.query(
            'orders',
            "select from pg_stat_activity where wait_event_type = 'Lock' and application_name like '%operations'",
          ),
        (waiting) => waiting.length > 0,
      );
      await rename('AA-10315', 'Renamed meanwhile');
      const [user] = await graph.databases.query(
        'users',
        "select name, email, version from users where id = 'AA-10315'",
      );
      await consumer.query('update users_copy set name = $1, email = $2, version = $3 where id = $4', [
        user?.name,
        user?.email,
        user?.version,
        'AA-10315',
      ]);
      await consumer.query(
        'update consumer_positions set position = (select position + 1 from consumer_positions where source = $1) where source = $1',
        ['users'],
      );
      await consumer.query('commit');
      await repaired;
      expect((await nameInCopy('AA-10315'))?.name).toBe('Renamed meanwhile');
    } finally {
      await consumer.end();
    }
    await level();
    expect(await verified()).toEqual([[], []]);
  });

  test('the second of two simultaneous rebuilds of a copy is refused', async () => {
    const outcomes = await Promise.allSettled([operations.rebuild('users'), operations.rebuild('users')]);
    expect(outcomes.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(outcomes).toContainEqual({
      status: 'rejected',
      reason: new AlreadyRunningError('"rebuild users_copy" is running already; wait until it has ended.'),
    });
    expect(await verified()).toEqual([[], []]);
  });

  test('a rebuild of a copy in use shows no reader a missing row, and loses no change', async () => {
    let stop = false;
    let holes = 0;
    let changes = 0;
    const reader = (async () => {
      while (!stop) {
        const [row] = await graph.databases.query('orders', 'select count(*)::int as count from users_copy');
        if ((row?.count as number) < 793) holes += 1;
      }
    })();
    const writer = (async () => {
      while (!stop) await rename('CG-12520', `Claire ${kind} ${changes++}`);
    })();
    for (let i = 0; i < 3; i++) await operations.rebuild('users');
    stop = true;
    await Promise.all([reader, writer]);
    await level();
    expect(holes).toBe(0);
    expect(changes).toBeGreaterThan(3);
    expect(await verified()).toEqual([[], []]);
  });

  const onlyWithNats = kind === 'NATS' ? test : () => undefined;
  onlyWithNats(
    'with NATS killed and its disk lost, commands succeed; when it is back, the copies are level by themselves',
    async () => {
      await nats?.kill();
      const down = await rename('CG-12520', 'While NATS is down');
      expect(down.errors).toBeUndefined();
      expect((await graph.ask('{ orders(first: 1) { nodes { customer { name } } } }')).errors).toBeUndefined();
      nats?.loseDisk();
      await nats?.start();
      await until(
        () => nameInCopy('CG-12520'),
        (row) => row?.name === 'While NATS is down',
      );
      await rename('CG-12520', 'NATS is back');
      await until(
        () => nameInCopy('CG-12520'),
        (row) => row?.name === 'NATS is back',
      );
      await until(
        async () => (await fetch(`${graph.urls.users}/metrics`)).text(),
        (text) => /relay_backlog_events\{service="users"\} 0/.test(text),
      );
      await level();
      expect(await verified()).toEqual([[], []]);
    },
  );

  test('a poison event blocks its aggregate only; a retry after the fix applies it and later events in order', async () => {
    const id = `poison-${kind}`;
    const insert = (aggregateId: string, version: number, data: object) =>
      graph.databases.query(
        'users',
        `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
         values (gen_random_uuid(), 'UserUpdated', 1, 'User', $1, $2, now(), $3)`,
        [aggregateId, version, JSON.stringify(data)],
      );
    await insert(id, 1, { name: 5 });
    await insert(id, 2, { name: 'Second', email: 'second@p.test' });
    await insert(`${id}-other`, 1, { name: 'Other', email: 'other@p.test' });
    await insert(id, 3, { name: 'Third', email: 'third@p.test' });
    await until(
      () => nameInCopy(`${id}-other`),
      (row) => row?.name === 'Other',
    );
    await until(
      () => operations.deadLetters(),
      (letters) => letters.length === 3,
    );
    expect(await nameInCopy(id)).toBeUndefined();
    expect(await (await fetch(`${graph.urls.orders}/metrics`)).text()).toMatch(/dead_letters\{service="orders"\} 3/);

    expect(await operations.retryDeadLetters()).toMatchObject([
      { aggregateId: id, applied: 0, error: expect.stringContaining('expected string') },
    ]);
    await graph.databases.query(
      'orders',
      `update dead_letters set event = jsonb_set(event, '{data}', '{"name": "First", "email": "first@p.test"}') where error not like 'waits%'`,
    );
    expect(await operations.retryDeadLetters()).toMatchObject([{ aggregateId: id, applied: 3, error: null }]);
    expect(await nameInCopy(id)).toMatchObject({ name: 'Third', version: 3 });
    expect(await operations.deadLetters()).toEqual([]);
    await insert(id, 4, { name: 'Fourth', email: 'fourth@p.test' });
    await until(
      () => nameInCopy(id),
      (row) => row?.name === 'Fourth',
    );
    await graph.databases.query('orders', "delete from users_copy where id like 'poison-%'");
  });

  test('a rebuild leaves the dead letters of other aggregate types unchanged', async () => {
    await graph.databases.query(
      'users',
      `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
       values (gen_random_uuid(), 'PaymentRefused', 1, 'Payment', 'poison', 1, now(), '{}')`,
    );
    const parkedPayments = async () =>
      (await operations.deadLetters()).filter(({ aggregate_type: type }) => type === 'Payment');
    await until(parkedPayments, (letters) => letters.length === 1);
    await operations.rebuild('users');
    const [letter] = await parkedPayments();
    expect(letter).toMatchObject({ source: 'users', aggregate_id: 'poison' });
    expect(await operations.discardDeadLetter('users', letter?.position as number)).toBe(true);
  });
});

test('retention deletes only old events that every consumer has applied', async () => {
  const graph = await startGraph({
    usersEnv: { EVENT_LOG_RETENTION: '1ms' },
    ordersEnv: { EVENT_POLL_INTERVAL: '50ms' },
  });
  const events = async () =>
    (await graph.databases.query('users', 'select count(*)::int as count from outbox'))[0]?.count;
  await until(events, (count) => count === 0);
  const [consumer] = await graph.databases.query('users', 'select position::int from ledger_consumers');
  expect(consumer?.position).toBe(1586);

  // A consumer that has stopped holds back the events that it has not applied.
  await graph.databases.query('users', "insert into ledger_consumers (name, position) values ('another', 1587)");
  for (const name of ['One', 'Two', 'Three'])
    await graph.ask(`mutation { updateUser(id: "CG-12520", input: { name: "${name}" }) { id } }`);
  await until(
    async () => (await graph.databases.query('orders', "select name from users_copy where id = 'CG-12520'"))[0]?.name,
    (name) => name === 'Three',
  );
  await until(events, (count) => count === 2);
  await until(
    async () =>
      (await graph.databases.query('users', "select position::int from ledger_consumers where name = 'orders'"))[0]
        ?.position,
    (position) => position === 1589,
  );
  expect(await events()).toBe(2);
  const gone = await fetch(`${graph.urls.users}/ledger?after=0`);
  expect(gone.status).toBe(410);
  expect(await gone.json()).toMatchObject({ message: expect.stringContaining('begins after position 1587') });
  await graph.stop();
});

test('an event log requires the secret', async () => {
  const secret = 'a secret between services';
  const graph = await startGraph({
    usersEnv: { INTERNAL_SECRET: secret },
    productsEnv: { INTERNAL_SECRET: secret },
    ordersEnv: { INTERNAL_SECRET: secret },
  });
  for (const path of ['/ledger?after=0', '/aggregates/User', '/aggregates/User?range=7']) {
    expect((await fetch(graph.urls.users + path)).status).toBe(403);
    const authorized = await fetch(graph.urls.users + path, { headers: { authorization: `Bearer ${secret}` } });
    expect(authorized.status).toBe(200);
  }
  await graph.stop();
});

test('copies are compared with their owners at intervals, and differences are reported', async () => {
  const graph = await startGraph({ ordersEnv: { VERIFY_INTERVAL: '100ms' } });
  const differences = async () =>
    /copy_differences\{(?=.*source="users").*\} (\d+)/.exec(
      await (await fetch(`${graph.urls.orders}/metrics`)).text(),
    )?.[1];
  await until(differences, (count) => count === '0');
  await graph.databases.query('orders', "update users_copy set email = 'wrong@x.test' where id = 'CG-12520'");
  await until(differences, (count) => count === '1');
  await graph.stop();
});

test('without NATS copies follow their owners by polling the event logs', async () => {
  const bus = new NatsBus({ url: 'nats://127.0.0.1:1', name: 'test', logger: pino({ level: 'silent' }) });
  const graph = await startGraph({ bus, ordersEnv: { EVENT_POLL_INTERVAL: '100ms' } });
  await graph.ask('mutation { updateUser(id: "CG-12520", input: { name: "Read from the event log" }) { id } }');
  await until(
    async () => (await graph.ask('{ order(number: "CA-2016-152156") { customer { name } } }')).data.order.customer.name,
    (name) => name === 'Read from the event log',
  );
  expect(await (await fetch(`${graph.urls.users}/metrics`)).text()).toMatch(
    /relay_backlog_events\{service="users"\} [1-9]/,
  );
  await graph.stop();
});

import { randomUUID } from 'node:crypto';
import { NatsBus } from '@tributary/bus';
import type { OrdersAdmin } from '@tributary/orders';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SERVICES, type ServiceName } from '../harness/databases.ts';
import { startGraph, type TestGraph } from '../harness/graph.ts';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { openOrdersAdmin } from '../harness/orders-admin.ts';
import { runProgram } from '../harness/process.ts';
import { Random } from '../harness/random.ts';
import { startTcpProxy, through } from '../harness/tcp-proxy.ts';
import { until } from '../harness/until.ts';

const NATS_IS_HERE = haveNats();
if (!NATS_IS_HERE) test('repairs over NATS', ({ skip }) => skip('nats-server is not installed'));

describe.runIf(NATS_IS_HERE)("repairs by the operators' commands, beside a graph on NATS", { timeout: 60_000 }, () => {
  let graph: TestGraph;
  let nats: TestNats;
  let operations: OrdersAdmin;
  beforeAll(async () => {
    nats = await startNats();
    graph = await startGraph({
      bus: new NatsBus({ url: nats.url, name: 'test', logger: pino({ level: 'silent' }) }),
      ordersEnv: { SAGA_STEP_TIMEOUT: '2s', VERIFY_INTERVAL: '200ms' },
    });
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

  const orders = (sql: string, values?: unknown[]) => graph.databases.query('orders', sql, values);
  const copyOf = async (id: string) => (await orders('select * from users_copy where id = $1', [id]))[0];
  const rename = (id: string, name: string) =>
    graph.ask('mutation Rename($id: ID!, $name: String!) { updateUser(id: $id, input: { name: $name }) { version } }', {
      id,
      name,
    });
  const renamed = async (id: string, name: string) => {
    await rename(id, name);
    await until(
      () => copyOf(id),
      (row) => row?.name === name,
    );
  };
  const place = async (waitMs: number) => {
    const { data } = await graph.ask(
      'mutation Place($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { id status } }',
      {
        input: { customerId: 'CG-12520', items: [{ productId: 'FUR-BO-10001798', quantity: 1 }], waitMs },
        key: randomUUID(),
      },
    );
    return data.placeOrder as { id: string; status: string };
  };
  const verified = async () => (await operations.verify(false)).map(({ differences }) => differences);
  const runTributary = (args: readonly string[], given: NodeJS.ProcessEnv = {}) => {
    const env = Object.fromEntries(
      SERVICES.flatMap((name) => [
        [`${name.toUpperCase()}_URL`, graph.urls[name]],
        [`${name.toUpperCase()}_DATABASE_URL`, graph.databases.urls[name]],
      ]),
    );
    return runProgram('cli/bin/tributary.mjs', args, { ...env, ...given });
  };
  const tributary = async (...args: string[]) => {
    const program = runTributary(args);
    return { status: await program.ended, output: program.output() };
  };
  /** Deletes the whole event log of a service, as its retention does once every consumer has applied it. */
  const deleteLog = (service: ServiceName) =>
    graph.databases.query(
      service,
      'with gone as (delete from outbox where position is not null) update ledger set published = head, deleted_to = head',
    );
  const readiness = async () =>
    (await (await fetch(`${graph.urls.orders}/health/ready`)).json()) as { status: string; degraded?: object };

  test('rows that differ are reported at /health/ready until "verify --repair" has repaired them', async () => {
    await orders("update users_copy set name = 'Nobody' where id in ('AA-10315', 'AA-10375')");
    const { degraded } = await until(readiness, ({ status }) => status === 'degraded');
    expect(degraded).toEqual({ 'rows of users': expect.stringMatching(/^2 rows differ .*verify --repair/) });
    const { status, output } = await tributary('verify', '--repair');
    expect(output).toMatch(/^copy +differences +repaired +ids\nusers +2 +2 +AA-\d+ AA-\d+\nproducts +0 +0\n/);
    expect(status).toBe(0);
    expect(await until(readiness, ({ status }) => status === 'ready')).not.toHaveProperty('degraded');
  });

  test('a repair that hangs holds events up for no longer than 15 s', async () => {
    const way = await startTcpProxy('localhost', Number(new URL(graph.urls.users).port));
    const holder = new pg.Client(graph.databases.urls.orders);
    await holder.connect();
    await orders("update users_copy set name = 'Nobody' where id = 'AA-10315'");
    await holder.query("begin; select from consumer_positions where source = 'users' for update");
    const repair = runTributary(['verify', '--repair'], { USERS_URL: through(way, graph.urls.users) });
    const sessions = (state: string) =>
      until(
        () => orders(`select from pg_stat_activity where application_name like '%operations' and ${state}`),
        (found) => found.length > 0,
      );
    try {
      await sessions("wait_event_type = 'Lock'");
      way.pause();
      await holder.query('commit');
      // It has the position, and reads from the owner.
      await sessions("state = 'idle in transaction'");
      repair.kill('SIGSTOP');
      await rename('AA-10480', 'Renamed meanwhile');
      await until(
        () => copyOf('AA-10480'),
        (row) => row?.name === 'Renamed meanwhile',
        25_000,
      );
    } finally {
      repair.kill('SIGCONT');
      await way.close();
      await holder.end();
    }
    expect(await repair.ended).toBe(1);
    expect((await tributary('verify', '--repair')).status).toBe(0);
    expect(await verified()).toEqual([[], []]);
  });

  test('of two rebuilds of a copy at the same time, one is refused, and the other one is complete', async () => {
    // The first waits for its last step.
    const holder = new pg.Client(graph.databases.urls.orders);
    await holder.connect();
    await holder.query("begin; select from consumer_positions where source = 'users' for update");
    const first = tributary('rebuild', 'users');
    try {
      await until(
        () =>
          orders("select from pg_stat_activity where wait_event_type = 'Lock' and application_name like '%operations'"),
        (waiting) => waiting.length > 0,
      );
      expect(await tributary('rebuild', 'users')).toEqual({
        status: 1,
        output: '"rebuild users_copy" is running already; wait until it has ended.\n',
      });
    } finally {
      await holder.query('commit');
      await holder.end();
    }
    expect(await first).toEqual({ status: 0, output: expect.stringMatching(/^Rebuilt users from \d+ events\.\n$/) });
    expect(await verified()).toEqual([[], []]);
  });

  const letters = () => operations.deadLetters();
  const register = async (name: string): Promise<string> => {
    const { data } = await graph.ask(
      'mutation Register($name: String!, $email: String!) { registerUser(input: { name: $name, email: $email }) { id } }',
      { name, email: `${randomUUID()}@repair.test` },
    );
    return data.registerUser.id;
  };
  /** From now on orders cannot apply what changes a user. */
  const refuse = (id: string) =>
    orders(`
      create or replace function refuse() returns trigger language plpgsql as $$ begin raise exception 'not now'; end $$;
      create trigger refusal before insert or update on users_copy for each row when (new.id = '${id}') execute function refuse()`);
  const accept = () => orders('drop trigger refusal on users_copy');

  test('parking, retries, a discard, rebuilds and repairs while changes flow lose nothing (seed 15)', async () => {
    const random = new Random(15);
    const users = await Promise.all(Array.from({ length: 4 }, (_, i) => register(`Flow ${i}`)));
    let going = true;
    let changes = 0;
    const clients = Array.from({ length: 3 }, async () => {
      while (going) await rename(random.pick(users), `Flow ${changes++}`);
    });
    for (const command of ['retry', 'rebuild', 'repair', 'discard']) {
      await refuse(random.pick(users));
      await until(letters, (found) => found.length > 2);
      // The cause is not repaired yet, so nothing is applied, and all dead letters stay.
      expect((await operations.retryDeadLetters()).map(({ applied }) => applied)).not.toContain(1);
      await accept();
      const [first] = await letters();
      if (command === 'discard') await operations.discardDeadLetter('users', first?.position as number);
      if (command === 'rebuild') await operations.rebuild('users');
      if (command === 'repair') await operations.verify(true);
      // The events that follow were dead letters until the cause was repaired.
      await operations.retryDeadLetters();
    }
    going = false;
    await Promise.all(clients);
    await until(verified, (differences) => differences.flat().length === 0);
    expect(await letters()).toEqual([]);
    expect(changes).toBeGreaterThan(10);
  });

  test('a copy that was restored to before the deleted part of the event log is repaired and continues', async () => {
    await renamed('CG-12520', 'Before the backup');
    await renamed('DV-13045', 'Before the backup');
    // As it was in the backup, and the events since then are deleted.
    await deleteLog('users');
    await orders("update users_copy set name = 'Old', version = 0 where id = 'CG-12520'");
    await orders("delete from users_copy where id = 'DV-13045'");
    await orders("update consumer_positions set position = position - 20 where source = 'users'");
    await rename('AA-10480', 'After the backup');

    const stopped = await tributary('verify');
    expect(stopped.status).toBe(1);
    expect(stopped.output).toMatch(
      /orders has stopped at event \d+ of users: users has deleted what follows .*"verify --repair" lets it go on\./,
    );
    expect(await tributary('rebuild', 'users')).toEqual({
      status: 1,
      output: expect.stringMatching(/^The copy of users cannot be rebuilt: .*verify --repair.*\n$/),
    });
    const { status, output } = await tributary('verify', '--repair');
    expect(output).toMatch(/^orders has stopped at event \d+ of users: .* It goes on after event \d+\..*sagas retry/m);
    expect(status).toBe(0);
    await renamed('CG-12520', 'Goes on');
    expect(await verified()).toEqual([[], []]);
  });

  test('a command that was deleted unread is requested again after "verify --repair": the order is confirmed', async () => {
    expect((await place(4000)).status).toBe('CONFIRMED');
    // Users was put back, and the event log of orders begins after the command to charge the account.
    const holder = new pg.Client(graph.databases.urls.users);
    await holder.connect();
    await holder.query("begin; select from consumer_positions where source = 'orders' for update");
    const { id } = await place(0);
    await until(
      () =>
        orders("select from outbox where type = 'ChargeAccount' and aggregate_id = $1 and position is not null", [id]),
      (commands) => commands.length > 0,
    );
    await deleteLog('orders');
    await holder.query("update consumer_positions set position = 1 where source = 'orders'; commit");
    await holder.end();

    const { status, output } = await tributary('verify', '--repair');
    expect(output).toMatch(/^users has stopped at event \d+ of orders: .* It goes on after event \d+\. Charges/m);
    expect(status).toBe(0);
    await until(
      async () => (await graph.ask('query Status($id: ID!) { order(id: $id) { status } }', { id })).data.order.status,
      (reached) => reached === 'CONFIRMED',
      30_000,
    );
  });

  test('no position is moved where nothing was deleted', async () => {
    const positions = () => orders('select source, position from consumer_positions order by source');
    const ends = async () =>
      (await Promise.all(
        (['products', 'users'] as const).map(async (source) => {
          const [end] = await graph.databases.query(source, 'select head as position from ledger');
          return { source, ...end };
        }),
      )) as Record<string, unknown>[];
    // What had no effect is noted a little later.
    await until(
      async () => JSON.stringify([await positions(), await ends()]),
      (both) => JSON.stringify(JSON.parse(both)[0]) === JSON.stringify(JSON.parse(both)[1]),
    );
    const before = await positions();
    expect((await tributary('verify', '--repair')).status).toBe(0);
    expect(await positions()).toEqual(before);
  });
});

import { randomUUID } from 'node:crypto';
import { NatsBus } from '@tributary/bus';
import type { OrdersAdmin } from '@tributary/orders';
import { connect } from 'nats';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { SERVICES } from '../../../test/harness/databases.ts';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';
import { haveNats, startNats, type TestNats } from '../../../test/harness/nats.ts';
import { openOrdersAdmin } from '../../../test/harness/orders-admin.ts';
import { until } from '../../../test/harness/until.ts';

const NATS_IS_HERE = haveNats();
if (!NATS_IS_HERE) test('dead letters over NATS', ({ skip }) => skip('nats-server is not installed'));

describe.runIf(NATS_IS_HERE)('dead letters over NATS', () => {
  let graph: TestGraph;
  let nats: TestNats;
  let operations: OrdersAdmin;
  const lines: { level: number; msg: string; [detail: string]: unknown }[] = [];
  beforeAll(async () => {
    nats = await startNats();
    const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
    graph = await startGraph({
      bus: new NatsBus({ url: nats.url, name: 'test', logger: pino({ level: 'silent' }) }),
      logger,
      ordersEnv: { SAGA_STEP_TIMEOUT: '60s' },
    });
    operations = openOrdersAdmin(graph.databases.urls.orders, {
      USERS_URL: graph.urls.users,
      PRODUCTS_URL: graph.urls.products,
    });
  });
  afterEach(async () => {
    await orders('drop trigger if exists refusal on users_copy; drop trigger if exists refusal on placement_sagas');
    await orders('delete from dead_letters');
  });
  afterAll(async () => {
    await operations?.close();
    await graph?.stop();
    await nats?.remove();
  });

  const orders = (sql: string, values?: unknown[]) => graph.databases.query('orders', sql, values);
  const copyOf = async (id: string) => (await orders('select * from users_copy where id = $1', [id]))[0];
  const register = async (name: string) => {
    const { data } = await graph.ask(
      'mutation Register($name: String!, $email: String!) { registerUser(input: { name: $name, email: $email }) { id } }',
      { name, email: `${name.replaceAll(' ', '.')}@letters.test` },
    );
    const { id } = data.registerUser;
    await until(
      () => copyOf(id),
      (row) => row !== undefined,
    );
    return id as string;
  };
  const rename = (id: string, name: string) =>
    graph.ask('mutation Rename($id: ID!, $name: String!) { updateUser(id: $id, input: { name: $name }) { version } }', {
      id,
      name,
    });
  const registerRich = async (name: string) => {
    const id = await register(name);
    await graph.ask(
      'mutation Deposit($id: ID!) { deposit(userId: $id, amount: "1000", idempotencyKey: "letters") { balance { amount } } }',
      { id },
    );
    return id;
  };
  const place = (customerId: string, waitMs: number) =>
    graph.ask(
      'mutation Place($input: PlaceOrderInput!, $key: ID!) { placeOrder(input: $input, idempotencyKey: $key) { id status } }',
      { input: { customerId, items: [{ productId: 'FUR-BO-10001798', quantity: 1 }], waitMs }, key: randomUUID() },
    );
  const remove = (id: string) => graph.ask('mutation Delete($id: ID!) { deleteUser(id: $id) { id } }', { id });
  /** From now on the database of orders refuses to write rows. @param when of which `new` it is, in SQL */
  const refuse = (table: string, when: string, error: string, deferred = false) =>
    orders(`
      drop trigger if exists refusal on ${table};
      create or replace function refuse_${table}() returns trigger language plpgsql as $$
      begin
        if ${when} then ${error}; end if;
        return new;
      end $$;
      create ${deferred ? 'constraint trigger refusal after' : 'trigger refusal before'} insert or update on ${table}
        ${deferred ? 'deferrable initially deferred' : ''} for each row execute function refuse_${table}()`);
  const accept = (table: string) => orders(`drop trigger refusal on ${table}`);
  const letters = async () =>
    (await operations.deadLetters()).map(({ consumer, event, aggregate_id: id }) => `${consumer} ${event.type} ${id}`);
  const ready = async () =>
    (await (await fetch(`${graph.urls.orders}/health/ready`)).json()) as { status: string; degraded?: object };
  const metrics = async () => (await fetch(`${graph.urls.orders}/metrics`)).text();
  const verified = async () => (await operations.verify(false)).map(({ differences }) => differences);
  /** Where one of the words is: rows of every table of every service, and messages of every stream. */
  const traces = async (...words: readonly string[]) => {
    const found: string[] = [];
    for (const service of SERVICES) {
      const tables = await graph.databases.query(
        service,
        "select quote_ident(table_name) as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE'",
      );
      const rows = tables.map(({ name }) => `select '${service} ${name}' as place, t::text as row from ${name} as t`);
      const hits = await graph.databases.query(
        service,
        `select place from (${rows.join(' union all ')}) as rows where lower(row) like any($1)`,
        [words.map((word) => `%${word}%`)],
      );
      found.push(...hits.map(({ place }) => String(place)));
    }
    const connection = await connect({ servers: nats.url });
    for await (const { config, state } of (await connection.jetstreamManager()).streams.list()) {
      if (state.messages === 0) continue;
      const consumer = await connection.jetstream().consumers.get(config.name);
      for await (const message of await consumer.fetch({ max_messages: state.messages, expires: 5000 })) {
        const text = message.string().toLowerCase();
        if (words.some((word) => text.includes(word))) found.push(`stream ${config.name}`);
      }
    }
    await connection.close();
    return found;
  };

  test('a deletion does not wait behind a dead letter: 5 s later no personal data is left anywhere', async () => {
    const id = await register('Zenobia Quill');
    await refuse('users_copy', `new.id = '${id}' and not new.deleted`, 'perform new.name::integer');
    await rename(id, 'Zenobia Quill-Marsh');
    await until(letters, (found) => found.length === 1);
    expect(await until(ready, ({ status }) => status === 'degraded')).toMatchObject({
      degraded: { 'dead letters': expect.stringMatching(/^1 event waits as a dead letter: .*dead-letters list/) },
    });
    const parked = lines.filter(({ type }) => type === 'UserUpdated');
    expect(parked).toMatchObject([
      { level: 50, source: 'users', aggregate: `User ${id}`, position: expect.any(Number) },
    ]);
    expect(await traces('zenobia')).toEqual(expect.arrayContaining(['orders dead_letters', 'orders users_copy']));

    await remove(id);
    await until(
      () => copyOf(id),
      (row) => row?.deleted === true,
      5000,
    );
    expect(await traces('zenobia', 'quill')).toEqual([]);
    expect(await copyOf(id)).toMatchObject({ name: 'Deleted user', deleted: true });
    expect(await letters()).toEqual([]);
    expect(JSON.stringify(lines)).not.toMatch(/zenobia|quill/i);
    expect(await until(ready, ({ status }) => status === 'ready')).not.toHaveProperty('degraded');
    expect(lines.map(({ msg }) => msg)).toContain('there are no dead letters any more');
  });

  test('a deletion that cannot be applied removes personal data from the dead letters, and is retried automatically', async () => {
    const id = await register('Ottoline Vane');
    await refuse('users_copy', `new.id = '${id}'`, "raise exception 'not now'");
    await rename(id, 'Ottoline Parked');
    await until(letters, (found) => found.length === 1);
    await remove(id);
    await until(letters, (found) => found.length === 2, 5000);
    expect(await traces('ottoline')).toEqual(['orders users_copy']);
    expect(lines).toContainEqual(
      expect.objectContaining({ level: 50, type: 'UserDeleted', msg: expect.stringContaining('a deletion could not') }),
    );
    await accept('users_copy');
    await until(letters, (found) => found.length === 0, 5000);
    expect(await traces('ottoline')).toEqual([]);
    expect(await verified()).toEqual([[], []]);
  });

  test('a deletion that an earlier release left waiting behind a dead letter is applied', async () => {
    const id = await register('Peregrine Locke');
    await remove(id);
    await until(
      () => copyOf(id),
      (row) => row?.deleted === true,
    );
    const letter = (position: number, type: string, data: object) => ({
      ...{
        id: randomUUID(),
        source: 'users',
        schemaVersion: 1,
        aggregateType: 'User',
        aggregateId: id,
        position,
        type,
      },
      ...{ data, aggregateVersion: position, occurredAt: new Date().toISOString() },
    });
    await orders(
      `with lost as (
         update users_copy set name = 'Peregrine', email = 'p@letters.test', version = 1, deleted = false where id = $1
       )
       insert into dead_letters (consumer, source, position, aggregate_type, aggregate_id, event, error, attempts)
       select 'orders', 'users', (event ->> 'position')::bigint, 'User', $1, event, 'waits', 0
       from jsonb_array_elements($2) as events (event)`,
      [
        id,
        JSON.stringify([
          letter(1, 'UserUpdated', { name: 'Peregrine', email: 5 }),
          letter(2, 'UserDeleted', { status: 'DELETED', erased: true }),
        ]),
      ],
    );
    await until(letters, (found) => found.length === 0);
    expect(await traces('peregrine')).toEqual([]);
    expect(await verified()).toEqual([[], []]);
  });

  test.each([
    ['a statement that always runs into its time-out', "raise exception using errcode = '57014'", false],
    ['a constraint that is checked at the commit', "raise exception 'never'", true],
  ])('of a batch, %s parks its own aggregate only', async (_, error, deferred) => {
    const tag = randomUUID().slice(0, 8);
    await refuse('users_copy', `new.id like '${tag}-%' and new.id ~ '-(7|23|24)$'`, error, deferred);
    // In one statement, so they come as a batch; each user three times.
    await graph.databases.query(
      'users',
      `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
       select gen_random_uuid(), 'UserUpdated', 1, 'User', $1 || '-' || id, version, now(),
         jsonb_build_object('name', 'Batched ' || version, 'email', id || $1 || '@letters.test')
       from generate_series(1, 3) as versions (version), generate_series(1, 40) as ids (id)`,
      [tag],
    );
    await until(
      () => orders("select id from users_copy where id like $1 and name = 'Batched 3'", [`${tag}-%`]),
      (rows) => rows.length === 37,
    );
    await until(letters, (found) => found.length === 9);
    expect(new Set(await letters())).toEqual(new Set([7, 23, 24].map((user) => `orders UserUpdated ${tag}-${user}`)));
    expect(await operations.retryDeadLetters()).toMatchObject([
      { applied: 0, error: expect.any(String) },
      { applied: 0, error: expect.any(String) },
      { applied: 0, error: expect.any(String) },
    ]);
    await accept('users_copy');
    expect(await operations.retryDeadLetters()).toMatchObject([{ applied: 3 }, { applied: 3 }, { applied: 3 }]);
    expect(
      await orders("select id from users_copy where id like $1 and name = 'Batched 3'", [`${tag}-%`]),
    ).toHaveLength(40);
    await orders('delete from users_copy where id like $1', [`${tag}-%`]);
  });

  test('after the position is set back, an event becomes a dead letter only once', async () => {
    const id = await register('Again');
    await refuse('users_copy', `new.id = '${id}'`, "raise exception 'not now'");
    for (const name of ['Again 1', 'Again 2']) await rename(id, name);
    await until(letters, (found) => found.length === 2);
    await orders("update consumer_positions set position = position - 2 where source = 'users'");
    const other = await register('Another');
    await until(
      () => copyOf(other),
      (row) => row !== undefined,
    );
    await accept('users_copy');
    expect(await operations.retryDeadLetters()).toMatchObject([{ aggregateId: id, applied: 2, error: null }]);
    expect(await copyOf(id)).toMatchObject({ name: 'Again 2' });
  });

  test('a broken reply blocks its own order only; rolled-back work is not counted', async () => {
    const counted = async (event: string) =>
      Number(new RegExp(`^sagas_total\\{.*event="${event}".*\\} (\\d+)`, 'm').exec(await metrics())?.[1]);
    const [broken, whole] = [await registerRich('Broken'), await registerRich('Whole')];
    const before = { started: await counted('started'), completed: await counted('completed') };
    await refuse(
      'placement_sagas',
      `new.customer_id = '${broken}' and new.status = 'COMPLETED'`,
      "raise exception 'never'",
      true,
    );
    expect((await place(broken, 0)).data.placeOrder.status).toBe('PENDING');
    expect((await place(whole, 4000)).data.placeOrder.status).toBe('CONFIRMED');
    await until(letters, (found) => found.length === 1);
    expect(await letters()).toEqual([expect.stringMatching(/^orders StockCommitted /)]);
    expect(await counted('completed')).toBe(before.completed + 1);

    await refuse(
      'placement_sagas',
      `new.customer_id = '${broken}' and new.status = 'STARTED'`,
      "raise exception 'never'",
      true,
    );
    expect((await place(broken, 0)).errors).toHaveLength(1);
    expect(await counted('started')).toBe(before.started + 2);
    await accept('placement_sagas');
    expect(await operations.retryDeadLetters()).toMatchObject([{ applied: 1, error: null }]);
  });

  test('an overdue saga whose statement always times out blocks its own order only', async () => {
    const [broken, whole] = [await registerRich('Overdue'), await registerRich('Not overdue')];
    // Products does not answer for now.
    const holder = new pg.Client(graph.databases.urls.products);
    await holder.connect();
    await holder.query('begin; lock table reservations in exclusive mode');
    const placed = [await place(broken, 0), await place(whole, 0)].map(({ data }) => data.placeOrder.id);
    await refuse(
      'placement_sagas',
      `new.customer_id = '${broken}' and new.commands > 1`,
      "raise exception using errcode = '57014'",
    );
    await orders('update placement_sagas set due_at = now() where order_id = any($1)', [placed]);
    await until(
      () => orders('select commands from placement_sagas where order_id = any($1) order by commands', [placed]),
      (rows) => rows[1]?.commands === 2,
    );
    expect(await orders('select commands from placement_sagas where order_id = $1', [placed[0]])).toEqual([
      { commands: 1 },
    ]);
    await accept('placement_sagas');
    await holder.query('commit');
    await holder.end();
    await until(
      () => orders('select from placement_sagas where order_id = any($1) and finished_at is null', [placed]),
      (open) => open.length === 0,
    );
  });

  test('a retry during a rebuild leaves the dead letters of the rebuild unchanged', async () => {
    const id = await register('Held');
    await refuse('users_copy', `new.id = '${id}' and new.version > 1`, "raise exception 'not now'");
    await rename(id, 'Held back');
    await until(letters, (found) => found.length === 1);
    await graph.databases.query(
      'users',
      `update outbox set data = '{"name": 5}' where aggregate_id = $1 and type = 'UserUpdated'`,
      [id],
    );
    // The rebuild waits for the last step.
    const holder = new pg.Client(graph.databases.urls.orders);
    await holder.connect();
    await holder.query("begin; select from consumer_positions where source = 'users' for update");
    const rebuilt = operations.rebuild('users');
    try {
      await until(
        () =>
          orders("select from pg_stat_activity where wait_event_type = 'Lock' and application_name like '%operations'"),
        (waiting) => waiting.length > 0,
      );
      expect(await letters()).toEqual([`orders UserUpdated ${id}`]);
    } finally {
      await holder.query('commit');
      await holder.end();
    }
    await rebuilt;
    expect(await letters()).toEqual([`orders UserUpdated ${id}`]);
    expect((await operations.deadLetters())[0]?.error).toContain('expected string');
    expect(await orders("select from pg_tables where tablename like '%_shadow%'")).toEqual([]);
  });
});

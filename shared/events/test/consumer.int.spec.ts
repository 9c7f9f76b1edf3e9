import { type EventBus, InProcessBus, type LoggedEvent } from '@tributary/bus';
import pg from 'pg';
import { pino } from 'pino';
import { afterEach, expect, inject, test } from 'vitest';
import { ControlledBus } from '../../../test/harness/controlled-bus.ts';
import { ask } from '../../../test/harness/graphql-client.ts';
import { createItemDatabases, startItems, startShelves } from '../../../test/harness/item-services.ts';
import { startTcpProxy, through } from '../../../test/harness/tcp-proxy.ts';
import { until } from '../../../test/harness/until.ts';

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** An owner of items, and what is needed to start a service with a copy of them, whose way to the owner's event log can be held up. */
async function startOwner() {
  const databases = await createItemDatabases(1);
  cleanUps.push(() => databases.drop());
  const bus = new InProcessBus();
  const { hostname, port } = new URL(inject('postgresUrl'));
  const database = await startTcpProxy(hostname, Number(port));
  cleanUps.push(() => database.close());
  const owner = await startItems(databases, { database, bus });
  cleanUps.push(() => owner.stop());
  const way = await startTcpProxy('127.0.0.1', Number(new URL(owner.url).port));
  cleanUps.push(() => way.close());
  const lines: { level: number; msg: string; cause?: string }[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const copyDatabase = await startTcpProxy(hostname, Number(port));
  cleanUps.push(() => copyDatabase.close());
  // Without its look at the event log now and then: what is tested here is what the bus brings.
  const startCopy = (pollIntervalMs = 3_600_000, carrier: EventBus = new ControlledBus(bus)) =>
    startShelves(databases, { database: copyDatabase, bus: carrier, logger, pollIntervalMs }, through(way, owner.url));
  const change = async () => {
    const { errors, data } = await ask(owner.url, 'mutation Change($id: ID!) { change(id: $id) { version } }', {
      id: 'i0',
    });
    expect(errors).toBeUndefined();
    return data.change.version as number;
  };
  /** As many changes, in one statement. */
  const changeOften = (times: number) =>
    query(
      'items',
      `with changed as (update items set version = version + $1 where id = 'i0')
       insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
       select gen_random_uuid(), 'ItemChanged', 1, 'Item', 'i0', version, now(), '{}' from generate_series(1, $1) as versions (version)`,
      [times],
    );
  const query = async (service: 'items' | 'shelves', text: string, values: unknown[] = []) => {
    const client = new pg.Client(databases.urls[service]);
    await client.connect();
    return client.query(text, values).finally(() => client.end());
  };
  const published = () =>
    until(
      async () => (await fetch(`${owner.url}/metrics`)).text(),
      (metrics) => /^relay_backlog_events\{.*\} 0$/m.test(metrics),
    );
  return { databases, bus, way, copyDatabase, lines, startCopy, change, changeOften, published, query };
}

interface CopyReport {
  readonly position: number;
  readonly ageMs: number;
  readonly everInSync: boolean;
  readonly problem: string | null;
}

/** What a service with a copy of items says of it. */
const copyOf = async ({ url }: { readonly url: string }) =>
  ((await (await fetch(`${url}/copies`)).json()) as { items: CopyReport }).items;

const healthOf = async ({ url }: { readonly url: string }) => {
  const response = await fetch(`${url}/health/ready`);
  return {
    code: response.status,
    ...((await response.json()) as { status: string; degraded?: Record<string, string> }),
  };
};

const isReady = ({ status }: { readonly status: string }) => status === 'ready';

test('a service can be stopped while its copy is catching up', async () => {
  const { way, startCopy, change, changeOften, published } = await startOwner();
  // These are in the event log only, because no consumer listens yet; they are more than one page.
  await changeOften(1200);
  await published();
  way.pause();
  const copy = await startCopy();
  // This comes over the bus, and what is before it is missing.
  await change();
  await published();
  const stopping = copy.stop().then(() => 'stopped');
  way.resume();
  const timeout = new Promise((resolve) => setTimeout(resolve, 8000, 'it does not stop'));
  expect(await Promise.race([stopping, timeout])).toBe('stopped');
});

test('events beyond the end of the event log are reported once, and block nothing', async () => {
  const { bus, lines, startCopy, change } = await startOwner();
  const copy = await startCopy();
  cleanUps.push(() => copy.stop());
  await copy.caughtUp;
  const position = async () => (await copyOf(copy)).position;
  await change();
  await until(position, (reached) => reached === 1);
  // The owner's database was put back from a backup; the bus has what was published since.
  const event = (at: number): LoggedEvent => ({
    position: at,
    id: `lost-${at}`,
    source: 'items',
    type: 'ItemChanged',
    schemaVersion: 1,
    aggregateType: 'Item',
    aggregateId: 'i0',
    aggregateVersion: at,
    occurredAt: new Date().toISOString(),
    correlationId: null,
    causationId: null,
    traceparent: null,
    data: {},
  });
  const reports = () => lines.filter(({ level }) => level >= 50).map(({ msg }) => msg);
  for (const at of [7, 8, 9]) await bus.publish('items', [event(at)]);
  await until(
    async () => reports(),
    (messages) => messages.length > 0,
  );
  for (let version = 2; version <= 4; version++) {
    await change();
    await until(position, (reached) => reached === version);
  }
  expect(reports()).toEqual(['the event bus has events beyond the end of the event log; they are ignored']);
});

test('a service that starts while the owner is down is ready, and reports the age of its copy', async () => {
  const { way, lines, startCopy, change, query } = await startOwner();
  // As a process without NATS: it has the event log alone.
  const startAlone = () => startCopy(200, new InProcessBus());
  const first = await startAlone();
  await change();
  await until(
    () => copyOf(first),
    ({ position }) => position === 1,
  );
  await until(() => healthOf(first), isReady);
  way.pause();
  const inSyncAfter = Date.now();
  await first.stop();

  // What happens now is not in the copy.
  const second = await startAlone();
  cleanUps.push(() => second.stop());
  const health = await until(
    () => healthOf(second),
    ({ degraded }) => degraded?.['copy of items']?.includes('cannot be reached') === true,
  );
  expect(health.code).toBe(200);
  expect(health.status).toBe('degraded');
  expect(health.degraded?.['copy of items']).toMatch(
    /^has not reached items for \d+ s; answers show it as of 20.+Z: http:.+ cannot be reached: no answer within 5 s$/,
  );
  const { position, ageMs, everInSync } = await copyOf(second);
  expect({ position, everInSync }).toEqual({ position: 1, everInSync: true });
  // Never fresher than the truth; and it is noted every three seconds, and when the service stops.
  expect(ageMs).toBeGreaterThanOrEqual(Date.now() - inSyncAfter - 1000);
  expect(ageMs).toBeLessThan(Date.now() - inSyncAfter + 4000);
  const answer = await fetch(`${second.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query: 'query Shelf { shelf(id: "i0") { item { version } } }' }),
  });
  expect(await answer.json()).toMatchObject({ data: { shelf: { item: { version: 1 } } } });
  expect(Number(/items=1:(\d+)/.exec(answer.headers.get('x-positions') ?? '')?.[1])).toBeGreaterThanOrEqual(ageMs);

  way.resume();
  await until(() => healthOf(second), isReady, 10_000);
  const said = lines.filter(({ msg }) => msg.includes('event log'));
  expect(said.map(({ level }) => level)).toEqual([40, 30]);
  expect(said[0]?.cause).toMatch(/cannot be reached: no answer within 5 s$/);

  // With a position that was set back, or a time in the future, the age is unknown.
  await second.stop();
  way.pause();
  for (const change of ['position = position - 1', "in_sync_at = now() + interval '1 hour', in_sync_position = 0"]) {
    await query('shelves', `update consumer_positions set ${change}`);
    const third = await startAlone();
    expect(await copyOf(third)).toMatchObject({ everInSync: true, ageMs: 999_999_999_999 });
    await third.stop();
  }
});

const clockOffset = async (url: string): Promise<number> => {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  return Number(/^clock_offset_seconds\{source="items".*\} (.*)$/m.exec(metrics)?.[1] ?? 0);
};

test('an end position without a time does not make a copy in sync; each leader has its own clock', async () => {
  const { way, startCopy, changeOften, query } = await startOwner();
  await changeOften(3);
  // The event log cannot be read, so the copy has only what the bus brings.
  way.pause();
  const bus = new InProcessBus();
  const copy = await startCopy(3_600_000, bus);
  cleanUps.push(() => copy.stop());
  const event = (position: number): LoggedEvent => ({
    position,
    id: `00000000-0000-4000-8000-00000000000${position}`,
    source: 'items',
    type: 'ItemChanged',
    schemaVersion: 1,
    aggregateType: 'Item',
    aggregateId: 'i0',
    aggregateVersion: position,
    occurredAt: new Date().toISOString(),
    correlationId: null,
    causationId: null,
    traceparent: null,
    data: {},
  });
  await bus.publish('items', [event(1), event(2)]);
  await until(
    () => copyOf(copy),
    ({ position }) => position === 2,
  );
  // The relay has not seen the end of its outbox yet.
  for (let i = 0; i < 41; i++) bus.announce('items', { position: 2, at: 0, term: 1 });
  expect(await copyOf(copy)).toMatchObject({ position: 2, everInSync: false });
  expect(await clockOffset(copy.url)).toBe(0);
  await bus.publish('items', [event(3)]);
  await until(
    () => copyOf(copy),
    ({ position }) => position === 3,
  );
  bus.announce('items', { position: 3, at: Date.now() + 20_000, term: 1 });
  expect(await copyOf(copy)).toMatchObject({ position: 3, everInSync: true });
  expect(await clockOffset(copy.url)).toBeGreaterThan(19);
  bus.announce('items', { position: 3, at: Date.now(), term: 2 });
  expect(await clockOffset(copy.url)).toBeLessThan(1);
  const noted = await until(
    async () => (await query('shelves', 'select in_sync_at from consumer_positions')).rows[0]?.in_sync_at as Date,
    (at) => at !== null,
  );
  expect(noted.getTime()).toBeGreaterThan(Date.now() - 60_000);
});

test('an event that the bus does not deliver is read from the event log at once', async () => {
  const databases = await createItemDatabases(1);
  cleanUps.push(() => databases.drop());
  const bus = new InProcessBus();
  cleanUps.push(() => bus.close());
  const { hostname, port } = new URL(inject('postgresUrl'));
  const database = await startTcpProxy(hostname, Number(port));
  cleanUps.push(() => database.close());
  const startOwner = () => startItems(databases, { database, bus: new ControlledBus(bus) });
  const first = await startOwner();
  const way = await startTcpProxy('127.0.0.1', Number(new URL(first.url).port));
  cleanUps.push(() => way.close());
  const copy = await startShelves(
    databases,
    { database, bus: new ControlledBus(bus), pollIntervalMs: 3_600_000 },
    through(way, first.url),
  );
  cleanUps.push(() => copy.stop());
  await copy.caughtUp;
  await first.stop();
  // The owner published it and died, and the bus lost it.
  const client = new pg.Client(databases.urls.items);
  await client.connect();
  await client.query(`
    insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
    values (gen_random_uuid(), 'ItemChanged', 1, 'Item', 'i0', 1, now(), '{}');
    select number_outbox(10);
    update ledger set published = head`);
  await client.end();
  const second = await startOwner();
  cleanUps.push(() => second.stop());
  way.redirect(Number(new URL(second.url).port));
  const startedAt = performance.now();
  await until(
    () => copyOf(copy),
    ({ position, ageMs }) => position === 1 && ageMs < 1000,
    5000,
  );
  expect(performance.now() - startedAt).toBeLessThan(3000);
});

test('a batch that takes too long is applied in smaller batches', async () => {
  const { startCopy, changeOften, published, query } = await startOwner();
  // No more than 60 events fit into the time of a transaction.
  await query(
    'shelves',
    `create function refuse_large() returns trigger language plpgsql as $$
     begin
       perform set_config('test.updates', (coalesce(nullif(current_setting('test.updates', true), ''), '0')::int + 1)::text, true);
       if current_setting('test.updates')::int > 60 then raise 'it takes too long' using errcode = '57014'; end if;
       return new;
     end $$;
     create trigger refuse_large before update on items_copy for each row execute function refuse_large()`,
  );
  await changeOften(300);
  await published();
  const copy = await startCopy();
  cleanUps.push(() => copy.stop());
  await until(
    () => copyOf(copy),
    ({ position }) => position === 300,
  );
  expect((await query('shelves', 'select from dead_letters')).rowCount).toBe(0);
});

test('events that retention deleted too early are reported once with the command that repairs the copy, after which it continues', async () => {
  const { lines, startCopy, change, changeOften, published, query } = await startOwner();
  const first = await startCopy(200);
  await first.caughtUp;
  await first.stop();
  await changeOften(3);
  await published();
  await query('items', 'delete from outbox; update ledger set deleted_to = head');
  const copy = await startCopy(200);
  cleanUps.push(() => copy.stop());
  const { code, degraded } = await until(
    () => healthOf(copy),
    (health) => health.degraded?.['copy of items']?.includes('begins after position 3') === true,
  );
  expect(code).toBe(200);
  expect(degraded?.['copy of items']).toMatch(/^has not reached items for/);
  // As the command does, once the rows are repaired.
  await query('shelves', 'update consumer_positions set position = 3');
  await query('shelves', 'update items_copy set version = 3');
  await change();
  await until(
    () => copyOf(copy),
    ({ position }) => position === 4,
  );
  await until(() => healthOf(copy), isReady);
  const said = lines.filter(({ msg }) => /deleted events|follows the event log/.test(msg));
  expect(said.map(({ level, msg }) => [level, msg])).toEqual([
    [50, 'the owner has deleted events that the copy has not applied; run "tributary verify --repair"'],
    [30, 'the copy follows the event log again'],
  ]);
});

test('a service closes its connections when it stops while a query of the dead letters hangs', async () => {
  const { databases, lines, startCopy, query } = await startOwner();
  const copy = await startCopy();
  await copy.caughtUp;
  const locking = new pg.Client(databases.urls.shelves);
  await locking.connect();
  cleanUps.push(() => locking.end());
  await locking.query('begin; lock table dead_letters in access exclusive mode');
  await until(
    () =>
      query('shelves', `select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()`),
    ({ rowCount }) => rowCount === 1,
  );
  await copy.stop();
  expect(lines.filter(({ msg }) => msg.includes('left behind'))).toEqual([]);
});

test('one of several processes with a copy stores the in-sync time every 3 s', async () => {
  const { startCopy, query } = await startOwner();
  await query(
    'shelves',
    `create table notes (at timestamptz);
     create function note() returns trigger language plpgsql as $$
     begin
       if new.in_sync_at is distinct from old.in_sync_at then insert into notes values (new.in_sync_at); end if;
       return new;
     end $$;
     create trigger note before update on consumer_positions for each row execute function note()`,
  );
  for (const copy of [await startCopy(), await startCopy(), await startCopy()]) cleanUps.push(() => copy.stop());
  const { rows } = await until(
    () => query('shelves', 'select extract(epoch from at - lag(at) over (order by at))::float8 as after from notes'),
    ({ rowCount }) => (rowCount ?? 0) > 1,
  );
  expect(rows.every(({ after }) => after === null || after > 2.9)).toBe(true);
});

test.each(['the owner', 'the database'])('a service stops within 5 s while %s hangs', async (what) => {
  const { way, copyDatabase, startCopy, change, changeOften, published } = await startOwner();
  const copy = await startCopy(100);
  await copy.caughtUp;
  if (what === 'the owner') way.pause();
  else copyDatabase.pause();
  await changeOften(1200);
  await change();
  await published();
  const startedAt = performance.now();
  await copy.stop();
  expect(performance.now() - startedAt).toBeLessThan(5000);
});

test('a service that starts while its database hangs does not report that its copy was never in sync', async () => {
  const { copyDatabase, startCopy } = await startOwner();
  copyDatabase.pause();
  const copy = await startCopy();
  cleanUps.push(() => copy.stop());
  expect((await copyOf(copy)).problem).toMatch(/the database has not been read yet$/);
  copyDatabase.resume();
  await until(
    () => copyOf(copy),
    ({ problem }) => problem === null,
  );
});

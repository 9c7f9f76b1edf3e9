import { type EndPosition, type EventBus, InProcessBus, type LoggedEvent, NatsBus } from '@tributary/bus';
import type { Invalidations } from '@tributary/consistency';
import { openDatabase } from '@tributary/postgres';
import { connect } from 'nats';
import pg from 'pg';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, inject, test } from 'vitest';
import { ask } from '../../../test/harness/graphql-client.ts';
import {
  createItemDatabases,
  type ItemDatabases,
  type ItemService,
  type Surroundings,
  startItems,
  startShelves,
} from '../../../test/harness/item-services.ts';
import { haveNats, startNats, type TestNats } from '../../../test/harness/nats.ts';
import { startTcpProxy, type TcpProxy } from '../../../test/harness/tcp-proxy.ts';
import { until } from '../../../test/harness/until.ts';
import { claimLead } from '../src/outbox/lease.ts';

const NATS_IS_HERE = haveNats();
if (!NATS_IS_HERE) test('the relay over NATS', ({ skip }) => skip('nats-server is not installed'));

let nats: TestNats;
beforeAll(async () => {
  if (NATS_IS_HERE) nats = await startNats();
});
afterAll(() => nats?.remove());

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
  if (!nats) return;
  // The next test begins with position 1 again, and the stream drops what it had.
  const connection = await connect({ servers: nats.url });
  const manager = await connection.jetstreamManager();
  await manager.streams.delete('tributary_items').catch(() => undefined);
  await connection.close();
});

interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly cause?: string;
}

/** Two items, in a database of this test. */
async function createItems(): Promise<ItemDatabases> {
  const databases = await createItemDatabases(2);
  cleanUps.push(() => databases.drop());
  return databases;
}

interface Owner extends ItemService {
  /** Its relay's way to the database. */
  readonly database: TcpProxy;
  readonly lines: readonly LogLine[];
}

/** An instance of the service that owns items. */
async function startOwner(databases: ItemDatabases, options: Omit<Surroundings, 'database'>): Promise<Owner> {
  const { hostname, port } = new URL(inject('postgresUrl'));
  const database = await startTcpProxy(hostname, Number(port));
  cleanUps.push(() => database.close());
  const lines: LogLine[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const owner = await startItems(databases, { database, logger, ...options });
  cleanUps.push(() => owner.stop());
  return { ...owner, database, lines };
}

/** A service with a copy of the items that reads no event log unless the bus brings something. */
async function startCopy(databases: ItemDatabases, owner: Owner, bus: EventBus): Promise<ItemService> {
  const copy = await startShelves(databases, { ...owner, bus, pollIntervalMs: 3_600_000 }, owner.url);
  cleanUps.push(() => copy.stop());
  await copy.caughtUp;
  return copy;
}

async function change(owner: ItemService, id: string): Promise<number> {
  const { errors, data } = await ask(owner.url, 'mutation Change($id: ID!) { change(id: $id) { version } }', { id });
  expect(errors).toBeUndefined();
  return data.change.version as number;
}

async function query(databases: ItemDatabases, sql: string, values: unknown[] = []) {
  const client = new pg.Client(databases.urls.items);
  await client.connect();
  try {
    return (await client.query(sql, values)).rows;
  } finally {
    await client.end();
  }
}

/** Inserts many events of one item, without a command. */
const insertEvents = (databases: ItemDatabases, count: number, data: object = {}) =>
  query(
    databases,
    `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
     select gen_random_uuid(), 'ItemChanged', 1, 'Item', 'i1', coalesce(
       (select max(aggregate_version) from outbox where aggregate_id = 'i1'), 0
     ) + n, now(), $2 from generate_series(1, $1::int) as numbers (n)`,
    [count, data],
  );

const copyReaches = (copy: ItemService, position: number) =>
  until(
    async () => ((await (await fetch(`${copy.url}/copies`)).json()) as { items: { position: number } }).items.position,
    (reached) => reached >= position,
  );

const health = async (service: ItemService) =>
  (await (await fetch(`${service.url}/health/ready`)).json()) as { degraded?: Record<string, string> };

const isLeading = async (service: ItemService) =>
  /^relay_leading\{.*\} 1$/m.test(await (await fetch(`${service.url}/metrics`)).text());

const openNats = (name: string) => new NatsBus({ url: nats.url, name, logger: pino({ level: 'silent' }) });

const untellable: [string, (event: LoggedEvent) => string[]][] = [
  [
    'is too large for a message',
    ({ aggregateId }) =>
      aggregateId === 'i1'
        ? Array.from({ length: 20_000 }, (_, i) => `Item:${'x'.repeat(100)}${i}`)
        : [`Item:${aggregateId}`],
  ],
  [
    'cannot be computed',
    ({ aggregateId }) => {
      if (aggregateId === 'i1') throw new Error('an event of an odd shape');
      return [`Item:${aggregateId}`];
    },
  ],
];

test.skipIf(!NATS_IS_HERE).each(untellable)(
  'an invalidation that %s is a gap for its listeners, and events are published all the same',
  async (_, invalidatedBy) => {
    const databases = await createItems();
    const owner = await startOwner(databases, { bus: openNats('items'), invalidatedBy });
    const listening = openNats('listener');
    cleanUps.push(() => listening.close());
    const received: Invalidations[] = [];
    cleanUps.push(
      await listening
        .subscribeToInvalidations('items', {
          onInvalidations: (_source, invalidations) => received.push(invalidations),
        })
        .then((stop) => async () => stop()),
    );
    const copy = await startCopy(databases, owner, openNats('shelves'));
    await change(owner, 'i0');
    await until(
      async () => received.at(-1)?.to,
      (to) => to === 1,
    );
    // The second is the one whose invalidation cannot be sent.
    await change(owner, 'i1');
    await change(owner, 'i0');
    await change(owner, 'i1');
    await copyReaches(copy, 4);
    await until(
      async () => received.at(-1)?.to,
      (to) => to === 4,
    );
    let position = received[0]?.to as number;
    const gaps: number[] = [];
    for (const { from, to } of received) {
      if (from > position) gaps.push(to);
      position = Math.max(position, to);
    }
    // The bus may split and the relay may merge invalidations; listeners see a gap either way.
    expect(gaps.length).toBeGreaterThan(0);
    expect(received.flatMap(({ touched }) => touched).map(({ position: at }) => at)).toEqual(
      expect.arrayContaining([1, 3]),
    );
    expect(owner.lines.filter(({ msg }) => msg.includes('events wait in the outbox'))).toEqual([]);
  },
);

test.skipIf(!NATS_IS_HERE)(
  'an event that is too large for the bus comes from the event log, and holds no other up',
  async () => {
    const databases = await createItems();
    const owner = await startOwner(databases, { bus: openNats('items') });
    const copy = await startCopy(databases, owner, openNats('shelves'));
    await insertEvents(databases, 1, { note: 'x'.repeat(2_000_000) });
    await change(owner, 'i0');
    await copyReaches(copy, 2);
    await until(
      () => query(databases, 'select published::int from ledger'),
      ([ledger]) => ledger?.published === 2,
    );
    expect((await health(owner)).degraded).toBeUndefined();
  },
);

test.skipIf(!NATS_IS_HERE)(
  'personal data that the bus does not purge yet holds no event up, and is purged in the end',
  async () => {
    const databases = await createItems();
    const connection = await connect({ servers: nats.url });
    cleanUps.push(() => connection.close());
    const manager = await connection.jetstreamManager();
    await manager.streams.add({ name: 'tributary_items', subjects: ['tributary.events.items.>'], deny_purge: true });
    const owner = await startOwner(databases, { bus: openNats('items') });
    const copy = await startCopy(databases, owner, openNats('shelves'));
    const erased: Invalidations[] = [];
    const listening = openNats('listener');
    cleanUps.push(() => listening.close());
    await listening.subscribeToInvalidations('items', {
      onInvalidations: (_source, invalidations) => {
        if (invalidations.touched.some((touch) => touch.erased)) erased.push(invalidations);
      },
    });
    await insertEvents(databases, 1, { erased: true });
    await change(owner, 'i0');
    await copyReaches(copy, 2);
    expect(
      await until(
        async () => (await health(owner)).degraded,
        (degraded) => degraded !== undefined,
      ),
    ).toEqual({
      'erasure from the event bus': expect.stringContaining('purge'),
    });
    // The message may carry the next event's invalidations, too.
    const purged = erased.flatMap(({ touched }) => touched).filter((touch) => touch.erased);
    expect(purged).toEqual([{ position: 1, entities: ['Item:i1'], erased: true }]);
    // The relay that leads next must find that there is something to purge.
    expect(await query(databases, 'select published::int from ledger')).toEqual([{ published: 0 }]);

    await manager.streams.delete('tributary_items');
    await change(owner, 'i0');
    await until(
      () => health(owner),
      ({ degraded }) => degraded === undefined,
    );
    expect(owner.lines.filter(({ msg }) => msg.includes('purged from the event bus')).map(({ msg }) => msg)).toEqual([
      'erased personal data could not be purged from the event bus yet; the purge is repeated',
      'erased personal data was purged from the event bus',
    ]);
  },
);

test.skipIf(!NATS_IS_HERE)('events that wait are reported once, with the cause, until they are published', async () => {
  const databases = await createItems();
  const owner = await startOwner(databases, { bus: openNats('items') });
  const copy = await startCopy(databases, owner, openNats('shelves'));
  await nats.kill();
  cleanUps.push(async () => {
    if (nats.pid === undefined) await nats.start();
  });
  await change(owner, 'i0');
  const { degraded } = await until(
    () => health(owner),
    (answer) => answer.degraded?.events !== undefined,
  );
  expect(degraded?.events).toMatch(/^events wait in the outbox: ./);
  await change(owner, 'i0');
  await nats.start();
  await copyReaches(copy, 2);
  await until(
    () => health(owner),
    (answer) => answer.degraded?.events === undefined,
  );
  const reports = owner.lines.filter(({ msg }) => /^events (wait|are published)/.test(msg));
  expect(reports.map(({ msg }) => msg)).toEqual(['events wait in the outbox', 'events are published again']);
  expect(reports[0]?.cause).toBeTruthy();
});

test.skipIf(!NATS_IS_HERE)('a relay gives up the lead when it stops, though the bus hangs', async () => {
  const databases = await createItems();
  const owner = await startOwner(databases, { bus: openNats('items') });
  const published = () => query(databases, 'select published::int, head::int, leader from ledger');
  await change(owner, 'i0');
  await until(published, ([ledger]) => ledger?.published === 1);
  const { pid } = nats;
  process.kill(pid as number, 'SIGSTOP');
  cleanUps.push(async () => void process.kill(pid as number, 'SIGCONT'));
  await change(owner, 'i0');
  await until(published, ([ledger]) => ledger?.head === 2);
  await owner.stop();
  expect(await published()).toEqual([{ published: 1, head: 2, leader: null }]);
});

test('a leader that is cut off from its database is replaced within 3 s, and sends nothing more', async () => {
  const databases = await createItems();
  const bus = new InProcessBus();
  const ends: EndPosition[] = [];
  await bus.subscribe('items', 'listener', {
    onEvents: async () => undefined,
    onEndPosition: (end) => ends.push(end),
  });
  const first = await startOwner(databases, { bus });
  await until(
    () => isLeading(first),
    (leads) => leads,
  );
  const second = await startOwner(databases, { bus });
  first.database.pause();
  const cutOffAt = performance.now();
  await until(
    () => isLeading(second),
    (leads) => leads,
  );
  expect(performance.now() - cutOffAt).toBeLessThan(3000);
  first.database.resume();
  expect(await isLeading(first)).toBe(false);
  for (let i = 0; i < 3; i++) await change(second, 'i0');
  await until(
    async () => ends.at(-1)?.position,
    (position) => position === 3,
  );
  expect([await isLeading(first), await isLeading(second)]).toEqual([false, true]);
  const terms = ends.map(({ term = 0 }) => term);
  expect(terms).toEqual(terms.toSorted((a, b) => a - b));
  expect(new Set(terms).size).toBe(2);

  // One that ends gives up the lead at once.
  const endsAt = performance.now();
  await second.stop();
  await until(
    () => isLeading(first),
    (leads) => leads,
  );
  expect(performance.now() - endsAt).toBeLessThan(1500);
});

test('a relay sends nothing while one of the release before leads, and goes on from there afterwards', async () => {
  const databases = await createItems();
  const bus = new InProcessBus();
  const sent: Invalidations[] = [];
  const stop = await bus.subscribeToInvalidations('items', {
    onInvalidations: (_source, invalidations) => sent.push(invalidations),
  });
  cleanUps.push(async () => stop());
  const events: LoggedEvent[] = [];
  await bus.subscribe('items', 'listener', {
    onEvents: async (batch) => void events.push(...batch),
    onEndPosition: () => undefined,
  });
  const owner = await startOwner(databases, { bus });
  const leads = (expected: boolean) =>
    until(
      () => isLeading(owner),
      (isNow) => isNow === expected,
    );
  await leads(true);
  await change(owner, 'i0');
  await until(
    async () => sent.at(-1)?.to,
    (to) => to === 1,
  );

  // A leading relay of that release holds this lock, and looks for it without waiting.
  const former = new pg.Client(databases.urls.items);
  await former.connect();
  cleanUps.push(() => former.end());
  const takeFormerLock = () =>
    until(
      async () => (await former.query('select pg_try_advisory_lock(7402113) as locked')).rows[0].locked as boolean,
      (locked) => locked,
    );
  await takeFormerLock();
  await leads(false);
  let before = sent.length;
  const db = openDatabase<unknown>({ url: databases.urls.items, applicationName: 'test', maxConnections: 1 });
  cleanUps.push(() => db.destroy());
  await query(databases, 'update ledger set leader = null, lease_until = null');
  expect(await claimLead(db, 'another relay', 10)).toBeNull();
  expect(await query(databases, 'select leader from ledger')).toEqual([{ leader: null }]);
  await change(owner, 'i0');
  await change(owner, 'i1');
  expect(sent.length).toBe(before);
  expect(events.map(({ position }) => position)).toEqual([1]);

  await former.query('select pg_advisory_unlock(7402113)');
  await until(
    async () => sent.at(-1)?.to,
    (to) => to === 3,
  );
  expect(sent.slice(before).flatMap(({ touched }) => touched.map(({ position }) => position))).toEqual(
    expect.arrayContaining([2, 3]),
  );
  await until(
    async () => events.at(-1)?.position,
    (position) => position === 3,
  );
  await leads(true);

  // One whose bus is away may leave events without positions for long: it works, and no other relay leads beside it.
  await takeFormerLock();
  await leads(false);
  before = sent.length;
  const setAge = (age: string) =>
    query(databases, 'update outbox set recorded_at = now() - $1::interval where position > 3 or position is null', [
      age,
    ]);
  /** While no relay has a lease, only the former one keeps others from leading. */
  const expectNoLead = async () => {
    await query(databases, 'update ledger set leader = null, lease_until = null');
    expect(await claimLead(db, 'another relay', 10)).toBeNull();
    expect(await query(databases, 'select leader from ledger')).toEqual([{ leader: null }]);
    expect(sent.length).toBe(before);
  };
  await insertEvents(databases, 1);
  await setAge('50 s');
  await expectNoLead();
  // A consumer that reads the event log assigns positions.
  await query(databases, 'select number_outbox(10)');
  await expectNoLead();
  // One that publishes nothing for 60 s hangs, and is not waited for.
  await setAge('61 s');
  await until(
    async () => sent.at(-1)?.to,
    (to) => to === 4,
  );
  await leads(false);
  await insertEvents(databases, 1);
  await setAge('61 s');
  await until(
    async () => sent.at(-1)?.to,
    (to) => to === 5,
  );
});

test('a relay takes the lead although the clock of the database was set back', async () => {
  const databases = await createItems();
  const owner = await startOwner(databases, { bus: new InProcessBus() });
  await until(
    () => isLeading(owner),
    (leads) => leads,
  );
  const lease = () =>
    query(databases, `select leader <> 'gone' as ours, lease_until - now() < interval '3 s' as ends from ledger`);
  const isOurs = ([row]: { ours?: boolean; ends?: boolean }[]) => row?.ours === true && row.ends === true;
  // As a lease is that was written before the clock went back by a minute: its own, and that of one that was killed.
  await query(databases, `update ledger set lease_until = now() + interval '62 s'`);
  await until(lease, isOurs, 3000);
  await query(databases, `update ledger set leader = 'gone', lease_until = now() + interval '62 s'`);
  await until(lease, isOurs, 3000);
});

test.each([
  ['was never analyzed', 0],
  ['was analyzed when it held nothing without a position', 100],
])('a relay assigns positions quickly in a long outbox that %s', async (_, before) => {
  const databases = await createItems();
  await insertEvents(databases, before);
  await query(databases, 'select number_outbox(1000)');
  if (before > 0) await query(databases, 'analyze outbox');
  await insertEvents(databases, 60_000);
  const askedAt = performance.now();
  const [claim] = await query(
    databases,
    `select numbered::int, remaining_ms from lead_outbox('this test', interval '2 s', 500)`,
  );
  expect(performance.now() - askedAt).toBeLessThan(400);
  expect(claim).toEqual({ numbered: 500, remaining_ms: expect.any(Number) });
  // The lease began after that.
  expect(claim?.remaining_ms).toBeGreaterThan(1900);
});

test('a relay whose database was restored continues in a new term', async () => {
  const databases = await createItems();
  const bus = new InProcessBus();
  const published: number[] = [];
  const ends: EndPosition[] = [];
  const invalidations: Invalidations[] = [];
  await bus.subscribe('items', 'listener', {
    onEvents: async (events) => void published.push(...events.map(({ position }) => position)),
    onEndPosition: (end) => ends.push(end),
  });
  await bus.subscribeToInvalidations('items', {
    onInvalidations: (_source, each) => invalidations.push(each),
  });
  const owner = await startOwner(databases, { bus });
  for (let i = 0; i < 3; i++) await change(owner, 'i0');
  const isNoted = (count: number) =>
    until(
      () => query(databases, 'select published::int, head::int from ledger'),
      ([ledger]) => ledger?.published === count,
    );
  await isNoted(3);
  const before = ends.at(-1);
  await query(databases, `update ledger set head = 1, published = 1`);
  await query(databases, `delete from outbox where position > 1`);
  await until(
    async () => ends.at(-1),
    (end) => end?.position === 1 && (end.term as number) > (before?.term as number),
  );
  published.length = 0;
  invalidations.length = 0;
  await insertEvents(databases, 1);
  await isNoted(2);
  expect(published).toContain(2);
  expect(invalidations.flatMap(({ touched }) => touched)).toEqual([{ position: 2, entities: ['Item:i1'] }]);
});

test('a process that does not lead reports that no relay publishes', async () => {
  const databases = await createItems();
  const hang = () =>
    query(databases, `update ledger set leader = 'hangs', term = 1, lease_until = now() + interval '1900 ms'`);
  await hang();
  const owner = await startOwner(databases, { bus: new InProcessBus() });
  await insertEvents(databases, 1);
  await query(databases, `update outbox set recorded_at = now() - interval '1 minute'`);
  const { degraded } = await until(
    async () => {
      await hang();
      return health(owner);
    },
    (answer) => answer.degraded?.events !== undefined,
  );
  expect(degraded?.events).toMatch(/committed 6\d s ago, and no relay publishes it$/);
  // The lease ends.
  await until(
    () => health(owner),
    (answer) => answer.degraded === undefined,
  );
});

test('reading the event log assigns positions to committed events, with or without a relay', async () => {
  const databases = await createItems();
  const hang = () => query(databases, `update ledger set leader = 'hangs', lease_until = now() + interval '1900 ms'`);
  await hang();
  const owner = await startOwner(databases, { bus: new InProcessBus() });
  await hang();
  await insertEvents(databases, 1200);
  const read = async (after: number) =>
    (await (await fetch(`${owner.url}/ledger?after=${after}&limit=1000`)).json()) as {
      head: number;
      more: boolean;
      events: LoggedEvent[];
    };
  const first = await read(0);
  expect(first.events.map(({ position }) => position)).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1));
  const second = await read(1000);
  expect(second).toMatchObject({ head: 1200, more: false });
  expect(second.events.map(({ aggregateVersion }) => aggregateVersion)).toEqual(
    Array.from({ length: 200 }, (_, i) => 1001 + i),
  );
});

test('retention waits for a position of every declared consumer, then deletes what all of them have applied', async () => {
  const databases = await createItems();
  const retention = { afterMs: 1, consumers: ['shelves', 'warehouse'] };
  const bus = new InProcessBus();
  const owner = await startOwner(databases, { bus, retention });
  await insertEvents(databases, 2500);
  const { degraded } = await until(
    () => health(owner),
    (answer) => answer.degraded !== undefined,
  );
  expect(degraded?.retention).toContain(
    'EVENT_LOG_CONSUMERS has "shelves", "warehouse", of which no position is known',
  );
  const waits = async () =>
    /^retention_waiting\{.*\} (\d)$/m.exec(await (await fetch(`${owner.url}/metrics`)).text())?.[1];
  expect(await waits()).toBe('1');
  const report = async (consumer: string, position: number) => {
    const body = JSON.stringify({ position });
    const answer = await fetch(`${owner.url}/ledger/consumers/${consumer}`, { method: 'PUT', body });
    expect(answer.status).toBe(204);
  };
  await report('shelves', 2500);
  await until(
    async () => (await health(owner)).degraded?.retention,
    (reason) => reason?.includes('EVENT_LOG_CONSUMERS has "warehouse"') === true,
  );
  const logged = async () => (await query(databases, 'select count(*)::int as count from outbox'))[0].count as number;
  expect(await logged()).toBe(2500);
  await report('warehouse', 2400);
  await until(logged, (count) => count === 100);
  expect(await query(databases, 'select deleted_to::int from ledger')).toEqual([{ deleted_to: 2400 }]);
  await until(
    () => health(owner),
    (answer) => answer.degraded === undefined,
  );
  expect(await waits()).toBe('0');
});

test('a scrape of the metrics reads no published event', async () => {
  const databases = await createItems();
  await insertEvents(databases, 20_000);
  await query(databases, 'update outbox set position = sequence');
  await query(databases, 'update ledger set head = 20000, published = 20000');
  await query(databases, 'analyze outbox');
  const reads = async () => {
    const [found] = await query(
      databases,
      `select coalesce(idx_scan, 0) + seq_scan as scans, coalesce(idx_tup_fetch, 0) + seq_tup_read as events
       from pg_stat_user_tables where relname = 'outbox'`,
    );
    return { scans: Number(found?.scans), events: Number(found?.events) };
  };
  const before = await reads();
  const owner = await startOwner(databases, { bus: new InProcessBus() });
  // PostgreSQL counts what a connection read a little later.
  const after = await until(
    async () => {
      expect((await fetch(`${owner.url}/metrics`)).ok).toBe(true);
      return reads();
    },
    ({ scans }) => scans >= before.scans + 40,
  );
  expect(after.events - before.events).toBeLessThan(20_000);
});

import { type LoggedEvent, NO_ORIGIN } from '@tributary/bus';
import {
  type ConsumerStore,
  databaseConsumerStore,
  databaseOutbox,
  type EventLog,
  eventLogClient,
  type OutboxStore,
  recordEvents,
} from '@tributary/events';
import { openDatabase } from '@tributary/postgres';
import { systemTime } from '@tributary/server';
import Fastify from 'fastify';
import { type Kysely, sql } from 'kysely';
import { afterEach, describe, expect, test } from 'vitest';
import { createItemDatabases } from '../../../test/harness/item-services.ts';
import { until } from '../../../test/harness/until.ts';
import { applyOrDeadLetter, retrySource } from '../src/consumer/dead-letters.ts';
import { serveEventLog } from '../src/event-log/event-log-endpoint.ts';
import { EventsDeletedError } from '../src/outbox/outbox.ts';
import { inMemoryConsumerStore } from './in-memory/consumer-store.ts';
import { InMemoryDatabase } from './in-memory/database.ts';
import { InMemoryOutbox } from './in-memory/outbox.ts';

// One contract for each port: the adapter for PostgreSQL or HTTP passes it, and so does the one in memory.

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function openDatabases() {
  const databases = await createItemDatabases(3);
  cleanUps.push(() => databases.drop());
  const open = (url: string) => {
    const db = openDatabase<unknown>({ url, applicationName: 'ports', maxConnections: 2 });
    cleanUps.push(() => db.destroy());
    return db;
  };
  return { urls: databases.urls, items: open(databases.urls.items), shelves: open(databases.urls.shelves) };
}

/** A change of an item, as its owner states it. */
const changed = (id: string, version: number) => ({
  type: 'ItemChanged',
  schemaVersion: 1,
  aggregateType: 'Item',
  aggregateId: id,
  aggregateVersion: version,
  data: {},
});

/** The same as other services see it. */
const logged = (position: number, id: string, version: number, data: object = {}): LoggedEvent => ({
  ...changed(id, version),
  position,
  id: `event-${position}`,
  source: 'items',
  occurredAt: new Date(0).toISOString(),
  correlationId: null,
  causationId: null,
  traceparent: null,
  data: { ...data },
});

interface Owner {
  /** Commits one change each of items i0, i1, … */
  readonly commit: (count: number) => Promise<void>;
  /** The outbox as another relay sees it. */
  readonly store: () => OutboxStore;
  readonly eventLog: EventLog;
}

const owners: Record<string, () => Promise<Owner>> = {
  'PostgreSQL and HTTP': async () => {
    const { urls, items: db } = await openDatabases();
    const app = Fastify();
    app.addContentTypeParser('application/json', { parseAs: 'string' }, (_request, body, done) => done(null, body));
    serveEventLog(app, 'items', db, {}, undefined, { databaseUrl: urls.items, checks: [] });
    const url = await app.listen({ host: '127.0.0.1', port: 0 });
    cleanUps.push(() => app.close());
    const versions = numbering();
    return {
      commit: (count) =>
        db.transaction().execute((transaction) =>
          recordEvents(
            transaction,
            versions(count).map(([id, version]) => changed(id, version)),
            NO_ORIGIN,
          ),
        ),
      store: () => databaseOutbox({ source: 'items', databaseUrl: urls.items, db }),
      eventLog: eventLogClient(url, undefined),
    };
  },
  memory: async () => {
    const outbox = new InMemoryOutbox(systemTime);
    const versions = numbering();
    return {
      commit: async (count) => outbox.commit(...versions(count).map(([id, version]) => logged(0, id, version))),
      store: () => outbox.store(),
      eventLog: outbox.eventLog(),
    };
  },
};

/** The next version of one item, over and over. */
function numbering() {
  let version = 0;
  return (count: number) => Array.from({ length: count }, () => ['i0', ++version] as const);
}

describe.each(Object.entries(owners))('outbox and event log: %s', (_name, open) => {
  test('a claim assigns positions up to its limit, and a reader of the event log assigns the rest', async () => {
    const { commit, store, eventLog } = await open();
    const relay = store();
    await commit(5);
    expect(await relay.readBacklog()).toBe(5);
    expect(await relay.claimLead(3)).toMatchObject({ assigned: 3, endPosition: 3 });
    expect((await relay.readEvents(0, 3, 500)).map(({ position }) => position)).toEqual([1, 2, 3]);
    expect((await relay.readEvents(1, 3, 1)).map(({ position }) => position)).toEqual([2]);
    const { head, more, events } = await eventLog.read(2, 2);
    expect({ head, more }).toEqual({ head: 5, more: false });
    expect(events.map(({ position, aggregateVersion }) => [position, aggregateVersion])).toEqual([
      [3, 3],
      [4, 4],
    ]);
    expect(await eventLog.read(Number.MAX_SAFE_INTEGER, 1)).toEqual({ head: 5, more: false, events: [] });
  });

  test('one relay leads until it releases the lead; the next one begins a later term', async () => {
    const { store } = await open();
    const [first, second] = [store(), store()];
    const claim = await first.claimLead(500);
    expect(claim?.remainingMs).toBeGreaterThan(0);
    expect(claim?.remainingMs).toBeLessThanOrEqual(2000);
    expect(await second.claimLead(500)).toBeNull();
    expect((await first.claimLead(500))?.term).toBe(claim?.term);
    await second.releaseLead();
    expect(await second.claimLead(500)).toBeNull();
    await first.releaseLead();
    expect((await second.claimLead(500))?.term).toBeGreaterThan(claim?.term as number);
  });

  test('the published position only grows, and only in the present term', async () => {
    const { commit, store } = await open();
    const relay = store();
    await commit(3);
    const term = (await relay.claimLead(500))?.term as number;
    await relay.markPublished(2, term);
    await relay.markPublished(1, term);
    await relay.markPublished(3, term - 1);
    expect(await relay.readPublished()).toBe(2);
    expect(await relay.readBacklog()).toBe(1);
    await relay.markPublished(3, term);
    expect(await relay.readOldestUnpublishedMs()).toBe(0);
  });

  test('a commit is notified until the watch stops', async () => {
    const { commit, store } = await open();
    let notifications = 0;
    const stop = store().watchCommits(() => {
      notifications += 1;
    });
    const seen = async () => notifications;
    const begun = await until(seen, (count) => count > 0);
    await commit(1);
    const afterCommit = await until(seen, (count) => count > begun);
    await stop();
    await commit(1);
    expect(notifications).toBe(afterCommit);
  });

  test('retention deletes what is published and applied by every consumer, and readers learn of it', async () => {
    const { commit, store, eventLog } = await open();
    const relay = store();
    await commit(4);
    const term = (await relay.claimLead(500))?.term as number;
    await relay.markPublished(3, term);
    expect(await relay.deleteOldEvents(-1000, ['shelves'])).toEqual({ more: false, missing: ['shelves'] });
    await eventLog.reportPosition('shelves', 2);
    expect(await relay.deleteOldEvents(3_600_000, ['shelves'])).toEqual({ more: false, missing: [] });
    expect((await eventLog.read(0, 500)).events).toHaveLength(4);
    expect(await relay.deleteOldEvents(-1000, ['shelves'])).toEqual({ more: false, missing: [] });
    await expect(eventLog.read(1, 500)).rejects.toBeInstanceOf(EventsDeletedError);
    expect((await eventLog.read(2, 500)).events.map(({ position }) => position)).toEqual([3, 4]);
  });

  test('an aborted request rejects', async () => {
    const { eventLog } = await open();
    await expect(eventLog.read(0, 1, AbortSignal.abort())).rejects.toThrow();
    await expect(eventLog.reportPosition('shelves', 1, AbortSignal.abort())).rejects.toThrow();
  });
});

interface Copy {
  readonly store: ConsumerStore<unknown>;
  /** Sets the version of the copy of an item. */
  readonly write: (transaction: Kysely<unknown>, id: string, version: number) => Promise<void>;
  readonly version: (id: string) => Promise<number>;
}

const copies: Record<string, () => Promise<Copy>> = {
  PostgreSQL: async () => {
    const { shelves: db } = await openDatabases();
    return {
      store: databaseConsumerStore(db, 'shelves', 'items', systemTime),
      write: async (transaction, id, version) => {
        await sql`update items_copy set version = ${version} where id = ${id}`.execute(transaction);
      },
      version: async (id) =>
        (await sql<{ version: number }>`select version from items_copy where id = ${id}`.execute(db)).rows[0]
          ?.version as number,
    };
  },
  memory: async () => {
    const database = new InMemoryDatabase();
    return {
      store: inMemoryConsumerStore(database, 'shelves', 'items', systemTime),
      write: async (transaction, id, version) => {
        InMemoryDatabase.stateOf(transaction).versions.set(id, version);
      },
      version: async (id) => database.committed.versions.get(id) ?? 0,
    };
  },
};

describe.each(Object.entries(copies))('consumer store: %s', (_name, open) => {
  test('the position and the effect are committed together, or neither', async () => {
    const { store, write, version } = await open();
    expect(await store.readState()).toEqual({ position: 0, everInSync: false, inSyncAt: null });
    await store.locked(async (transaction, position) => {
      expect(position.stored).toBe(0);
      await write(transaction, 'i0', 7);
      await position.store(3);
      expect((await store.readState()).position).toBe(0);
    });
    const failing = store.locked(async (transaction, position) => {
      expect(position.stored).toBe(3);
      await write(transaction, 'i0', 8);
      await position.store(4);
      throw new Error('it failed');
    });
    await expect(failing).rejects.toThrow('it failed');
    expect([(await store.readState()).position, await version('i0')]).toEqual([3, 7]);
  });

  test('the lock is held by one transaction at a time', async () => {
    const { store } = await open();
    const order: string[] = [];
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const first = store.locked(async () => {
      order.push('first');
      await held;
      order.push('first ends');
    });
    await until(
      async () => order,
      ({ length }) => length === 1,
    );
    const second = store.locked(async () => order.push('second'));
    release();
    await Promise.all([first, second]);
    expect(order).toEqual(['first', 'first ends', 'second']);
  });

  test('the in-sync time is stored if it is new enough, and is void below its position', async () => {
    const { store } = await open();
    const now = systemTime.monotonic();
    const storeAt = (inSyncAt: number, sinceMs: number) =>
      store.locked((_transaction, position) => position.storeInSyncTime(inSyncAt, sinceMs));
    await store.locked((_transaction, position) => position.store(5));
    await storeAt(now - 10_000, 0);
    await storeAt(now - 9000, 3000);
    const { everInSync, inSyncAt } = await store.readState();
    expect(everInSync).toBe(true);
    // Rounded, and never fresher than it is.
    expect(Math.abs((inSyncAt ?? 0) - (now - 10_000))).toBeLessThan(500);
    await storeAt(now - 1000, 3000);
    expect(Math.abs(((await store.readState()).inSyncAt ?? 0) - (now - 1000))).toBeLessThan(500);
    await store.locked((_transaction, position) => position.store(4));
    expect(await store.readState()).toEqual({ position: 4, everInSync: true, inSyncAt: null });
  });

  test('a dead letter holds up its aggregate only, and a retry applies it and what follows in order', async () => {
    const { store, write, version } = await open();
    const { deadLetters } = store;
    let broken = true;
    const apply = async (transaction: Kysely<unknown>, events: readonly LoggedEvent[]) => {
      for (const { aggregateId, aggregateVersion } of events) {
        await write(transaction, aggregateId, aggregateVersion);
        if (broken && aggregateId === 'i1') throw new Error('i1 is broken');
      }
    };
    const parked: number[] = [];
    const events = [logged(1, 'i0', 1), logged(2, 'i1', 1), logged(3, 'i1', 2), logged(4, 'i0', 2)];
    await applyOrDeadLetter(events, {
      apply,
      deadLetters,
      commit: (part, run) => store.locked((transaction) => run(transaction, part)),
      onDeadLetter: ({ position }) => parked.push(position),
    });
    expect([await version('i0'), await version('i1'), parked]).toEqual([2, 0, [2]]);
    expect(await deadLetters.aggregates('all')).toEqual([{ aggregateType: 'Item', aggregateId: 'i1' }]);
    expect(await deadLetters.aggregates('erased')).toEqual([]);
    expect(await retrySource(store, 'items', apply)).toMatchObject([{ applied: 0, error: 'i1 is broken' }]);
    const letters = await store.locked((transaction) =>
      deadLetters.ofAggregate(transaction, { aggregateType: 'Item', aggregateId: 'i1' }),
    );
    expect(letters.map(({ position, attempts, event }) => [position, attempts, event.aggregateVersion])).toEqual([
      [2, 2, 1],
      [3, 0, 2],
    ]);
    broken = false;
    expect(await retrySource(store, 'items', apply)).toMatchObject([{ applied: 2, error: null }]);
    expect([await version('i1'), await deadLetters.aggregates('all')]).toEqual([2, []]);
  });

  test('an erasure that cannot be applied removes personal data from the dead letters before it', async () => {
    const { store, write } = await open();
    const { deadLetters } = store;
    let broken = true;
    const apply = async (transaction: Kysely<unknown>, events: readonly LoggedEvent[]) => {
      if (broken) throw new Error('it is broken');
      for (const { aggregateId, aggregateVersion } of events) await write(transaction, aggregateId, aggregateVersion);
    };
    const events = [logged(1, 'i2', 1, { name: 'Ada' }), logged(2, 'i2', 2, { erased: true })];
    await applyOrDeadLetter(events, {
      apply,
      deadLetters,
      commit: (part, run) => store.locked((transaction) => run(transaction, part)),
    });
    const item = { aggregateType: 'Item', aggregateId: 'i2' };
    const letters = await store.locked((transaction) => deadLetters.ofAggregate(transaction, item));
    expect(letters.map(({ event, error }) => [event.data, error])).toEqual([
      [{ erased: true }, 'could not be applied; what it said was erased with its aggregate'],
      [{ erased: true }, 'it is broken'],
    ]);
    expect(await deadLetters.aggregates('erased')).toEqual([item]);
    broken = false;
    expect(await retrySource(store, 'items', apply, 'erased')).toMatchObject([{ applied: 1, error: null }]);
    expect(await deadLetters.aggregates('all')).toEqual([]);
  });
});

import { InProcessBus, type LoggedEvent } from '@tributary/bus';
import { ConsumerMetrics, EventConsumer, type EventLog, Relay } from '@tributary/events';
import { Health, type Timers } from '@tributary/server';
import type { Kysely } from 'kysely';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterEach, expect, test } from 'vitest';
import { ManualTime } from '../../../test/harness/manual-time.ts';
import { retrySource } from '../src/consumer/dead-letters.ts';
import { inMemoryConsumerStore } from './in-memory/consumer-store.ts';
import { InMemoryDatabase } from './in-memory/database.ts';
import { InMemoryOutbox } from './in-memory/outbox.ts';

// The relay and a consumer with bus, stores and event log in memory, in virtual time: an hour passes without waiting.

const POLL_MS = 60_000;
const MINUTE_MS = 60_000;
/** Within this time a relay and a consumer stop, whatever hangs. */
const STOP_MS = 1000;
const logger = pino({ level: 'silent' });

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** A bus that delivers events late, or accepts and loses them. End positions arrive at once. */
class UnreliableBus extends InProcessBus {
  readonly #timers: Timers;
  delayMs = 0;
  loses = false;

  constructor(timers: Timers) {
    super({ timers });
    this.#timers = timers;
  }

  override async publish(source: string, events: readonly LoggedEvent[]): Promise<readonly string[]> {
    if (this.loses) return [];
    if (this.delayMs > 0) await this.#timers.sleep(this.delayMs);
    return super.publish(source, events);
  }
}

/** An event log that can be down, and counts how often it is read. */
class UnreliableLog implements EventLog {
  readonly #log: EventLog;
  isDown = false;
  reads = 0;

  constructor(log: EventLog) {
    this.#log = log;
  }

  async read(...parameters: Parameters<EventLog['read']>): ReturnType<EventLog['read']> {
    this.reads += 1;
    if (this.isDown) throw new Error('the event log is down');
    return this.#log.read(...parameters);
  }

  reportPosition(...parameters: Parameters<EventLog['reportPosition']>): Promise<void> {
    return this.#log.reportPosition(...parameters);
  }
}

const changed = (id: string, version: number) => ({
  id: `${id}-${version}`,
  source: 'items',
  type: 'ItemChanged',
  schemaVersion: 1,
  aggregateType: 'Item',
  aggregateId: id,
  aggregateVersion: version,
  occurredAt: new Date(0).toISOString(),
  correlationId: null,
  causationId: null,
  traceparent: null,
  data: {},
});

/** A relay of the service that owns items. */
function startRelay(outbox: InMemoryOutbox, bus: InProcessBus, time: ManualTime): Relay {
  const relay = new Relay({
    source: 'items',
    store: outbox.store(),
    bus,
    logger,
    metrics: new Registry(),
    health: new Health(),
    invalidatedBy: () => [],
    retentionMs: 0,
    consumers: [],
    time,
  });
  relay.start();
  cleanUps.push(() => Promise.all([relay.stop(), time.advance(STOP_MS)]));
  return relay;
}

/** The service that owns items, and one with a copy of them, which is in sync. */
async function startServices() {
  const time = new ManualTime();
  const bus = new UnreliableBus(time);
  const outbox = new InMemoryOutbox(time);
  const eventLog = new UnreliableLog(outbox.eventLog());
  const database = new InMemoryDatabase();
  const store = inMemoryConsumerStore(database, 'shelves', 'items', time);
  const broken = new Set<string>();
  const apply = async (transaction: Kysely<unknown>, events: readonly LoggedEvent[]) => {
    for (const { aggregateId, aggregateVersion } of events) {
      if (broken.has(aggregateId)) throw new Error(`${aggregateId} is broken`);
      InMemoryDatabase.stateOf(transaction).versions.set(aggregateId, aggregateVersion);
    }
  };
  const consumer = new EventConsumer<unknown>({
    name: 'shelves',
    subscription: { source: 'items', eventLog, filter: () => true, apply },
    store,
    bus,
    pollIntervalMs: POLL_MS,
    logger,
    metrics: new ConsumerMetrics(new Registry()),
    time,
  });
  const relay = startRelay(outbox, bus, time);
  await consumer.start();
  cleanUps.push(() => Promise.all([consumer.stop(), time.advance(STOP_MS)]));
  await time.advance(1000);
  await consumer.caughtUp;
  const commit = async (...events: ReturnType<typeof changed>[]) => {
    outbox.commit(...events);
    await time.advance(0);
  };
  const versions = () => Object.fromEntries(database.committed.versions);
  return { time, bus, outbox, commit, eventLog, store, broken, apply, consumer, relay, versions };
}

test('an event is applied as soon as it is committed, and the copy stays in sync for an hour', async () => {
  const { time, outbox, commit, eventLog, consumer, versions } = await startServices();
  await commit(changed('i0', 1));
  expect(versions()).toEqual({ i0: 1 });
  const { reads } = eventLog;
  await time.advance(60 * MINUTE_MS);
  expect(consumer.freshness).toMatchObject({ position: 1, head: 1, lagSeconds: 0, problem: null });
  expect(consumer.freshness.ageMs).toBeLessThanOrEqual(250);
  expect(eventLog.reads - reads).toBe(60);
  expect(await outbox.store().readBacklog()).toBe(0);
});

test('an event that the bus delivers late is applied when it arrives', async () => {
  const { time, bus, commit, eventLog, versions } = await startServices();
  const { reads } = eventLog;
  bus.delayMs = 200;
  await commit(changed('i0', 1));
  await time.advance(199);
  expect(versions()).toEqual({});
  await time.advance(1);
  expect(versions()).toEqual({ i0: 1 });
  expect(eventLog.reads).toBe(reads);
});

test('a gap that the bus leaves is read from the event log, before the next poll', async () => {
  const { time, bus, commit, eventLog, versions } = await startServices();
  const { reads } = eventLog;
  bus.loses = true;
  await commit(changed('i0', 1), changed('i0', 2));
  await time.advance(200);
  expect(versions()).toEqual({});
  await time.advance(200);
  expect(versions()).toEqual({ i0: 2 });
  expect(eventLog.reads).toBe(reads + 1);
});

test('a copy whose owner cannot be reached reports its age, and follows again when the event log is back', async () => {
  const { time, bus, commit, eventLog, consumer, versions } = await startServices();
  bus.loses = true;
  eventLog.isDown = true;
  await commit(changed('i0', 1));
  await time.advance(10 * MINUTE_MS);
  expect(consumer.freshness.problem).toMatch(
    /^has not reached items for 600 s; answers show it as of 2026-01-01T00:00:0.*Z: the event log is down$/,
  );
  expect(versions()).toEqual({});
  eventLog.isDown = false;
  await time.advance(1500);
  expect(versions()).toEqual({ i0: 1 });
  expect(consumer.freshness).toMatchObject({ lagSeconds: 0, problem: null });
});

test('a dead letter holds up its aggregate for an hour, and a retry after the fix applies it in order', async () => {
  const { time, commit, store, broken, apply, consumer, versions } = await startServices();
  broken.add('i1');
  await commit(changed('i0', 1), changed('i1', 1), changed('i1', 2), changed('i0', 2));
  await time.advance(60 * MINUTE_MS);
  await commit(changed('i0', 3), changed('i1', 3));
  expect(versions()).toEqual({ i0: 3 });
  expect(consumer.freshness).toMatchObject({ position: 6, problem: null });
  expect(await retrySource(store, 'items', apply)).toMatchObject([{ applied: 0, error: 'i1 is broken' }]);
  broken.clear();
  expect(await retrySource(store, 'items', apply)).toMatchObject([{ applied: 3, error: null }]);
  expect(versions()).toEqual({ i0: 3, i1: 3 });
  await commit(changed('i1', 4));
  expect(versions()).toEqual({ i0: 3, i1: 4 });
});

test('when the leading relay stops, the next one publishes at its next look for the lead', async () => {
  const { time, bus, outbox, commit, relay, versions } = await startServices();
  startRelay(outbox, bus, time);
  await time.advance(1000);
  await relay.stop();
  await commit(changed('i0', 1));
  await time.advance(250);
  expect(versions()).toEqual({ i0: 1 });
});

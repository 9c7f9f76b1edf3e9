import type { LedgerEvent } from '@tributary/shared/events/event';
import { InProcessBus } from '@tributary/shared/events/in-process-bus';
import pg from 'pg';
import { pino } from 'pino';
import { afterEach, expect, inject, test } from 'vitest';
import { createItemDatabases, startItems, startShelves } from '../freshness/item-services.ts';
import { ask } from '../harness/graphql-client.ts';
import { startTcpProxy, through } from '../harness/tcp-proxy.ts';
import { until } from '../harness/until.ts';

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
  const lines: { level: number; msg: string }[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const startCopy = () =>
    // Without its look at the event log now and then: what is tested here is what the bus brings.
    startShelves(databases, { database, bus, logger, pollIntervalMs: 3_600_000 }, through(way, owner.url));
  const change = async () => {
    const { errors, data } = await ask(owner.url, 'mutation Change($id: ID!) { change(id: $id) { version } }', {
      id: 'i0',
    });
    expect(errors).toBeUndefined();
    return data.change.version as number;
  };
  /** As many changes, in one statement. */
  const changeOften = async (times: number) => {
    const client = new pg.Client(databases.urls.items);
    await client.connect();
    await client.query(
      `with changed as (update items set version = version + $1 where id = 'i0')
       insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
       select gen_random_uuid(), 'ItemChanged', 1, 'Item', 'i0', version, now(), '{}' from generate_series(1, $1) as versions (version)`,
      [times],
    );
    await client.end();
  };
  const published = () =>
    until(
      async () => (await fetch(`${owner.url}/metrics`)).text(),
      (metrics) => /^relay_backlog_events\{.*\} 0$/m.test(metrics),
    );
  return { bus, way, lines, startCopy, change, changeOften, published };
}

test('a service can be stopped while its copy is catching up', async () => {
  const { way, startCopy, change, changeOften, published } = await startOwner();
  // These are in the event log only, for nobody listens yet; they are more than one page of it.
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

test('events beyond the end of the event log are reported once, and hold nothing up', async () => {
  const { bus, lines, startCopy, change } = await startOwner();
  const copy = await startCopy();
  cleanUps.push(() => copy.stop());
  await copy.caughtUp;
  const position = async () =>
    ((await (await fetch(`${copy.url}/copies`)).json()) as { items: { position: number } }).items.position;
  await change();
  await until(position, (reached) => reached === 1);
  // The owner's database was put back from a backup; the bus has what was published since.
  const event = (at: number): LedgerEvent => ({
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

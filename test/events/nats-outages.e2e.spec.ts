import { type LoggedEvent, NatsBus } from '@tributary/bus';
import { definition as users } from '@tributary/users';
import { connect, type JetStreamManager, type StoredMsg } from 'nats';
import pg from 'pg';
import { type Logger, pino } from 'pino';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { cloneDatabases } from '../harness/databases.ts';
import { createItemDatabases, startItems } from '../harness/item-services.ts';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { startTcpProxy } from '../harness/tcp-proxy.ts';
import { until } from '../harness/until.ts';

// NATS refuses logins, has no JetStream, loses streams, or hangs: whatever is subscribed to comes again by itself.

const BACK_WITHIN_MS = 5000;

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

async function ownNats(): Promise<TestNats> {
  const nats = await startNats();
  cleanUps.push(() => nats.remove());
  return nats;
}

/** What is logged at info or above. */
function logTo(lines: string[]): Logger {
  return pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
}

const eventOf = (position: number): LoggedEvent => ({
  position,
  id: `id-${position}`,
  source: 'users',
  type: 'Tested',
  schemaVersion: 1,
  aggregateType: 'Test',
  aggregateId: `test ${position}`,
  aggregateVersion: 1,
  occurredAt: new Date().toISOString(),
  correlationId: null,
  causationId: null,
  traceparent: null,
  data: {},
});

/** A process that sends, and one that receives. */
async function startFlow(url: string) {
  const log: string[] = [];
  const [sender, receiver] = ['sender', 'receiver'].map((name) => new NatsBus({ url, name, logger: logTo(log) }));
  if (!sender || !receiver) throw new Error('unreachable');
  cleanUps.push(() => Promise.all([sender.close(), receiver.close()]));
  const got = { events: 0, ends: 0, invalidations: 0 };
  await receiver.subscribe('users', 'reader', {
    onEvents: async (events) => {
      got.events = Math.max(got.events, ...events.map(({ position }) => position));
    },
    onEndPosition: ({ position }) => {
      got.ends = position;
    },
  });
  await receiver.subscribeToInvalidations('users', {
    onInvalidations: (_source, { to }) => {
      got.invalidations = to;
    },
  });
  let position = 0;
  /** Sends until everything arrives, as a relay does: it repeats what was not taken. */
  const flows = async () => {
    const sent = ++position;
    await until(
      async () => {
        await sender.publish('users', [eventOf(sent)]).catch(() => undefined);
        sender.announce('users', { position: sent, at: Date.now() });
        sender.publishInvalidations('users', { from: sent - 1, to: sent, at: Date.now(), touched: [] });
        return got;
      },
      ({ events, ends, invalidations }) => events === sent && ends === sent && invalidations === sent,
      BACK_WITHIN_MS,
    );
  };
  await flows();
  return { log, sender, receiver, flows };
}

const onlyWith = (log: readonly string[], text: string) => log.filter((line) => line.includes(text));

describe('everything subscribed to comes again', () => {
  test('after logins were refused for a while, which is logged once with its cause, and once when it is over', async ({
    skip,
  }) => {
    if (!haveNats()) skip('nats-server is not installed');
    const nats = await ownNats();
    const { log, receiver, flows } = await startFlow(nats.url);
    await nats.kill();
    await nats.start(['-js', '--user', 'x', '--pass', 'y']);
    await until(
      async () => receiver.problem(),
      (problem) => problem?.includes('refused the login') ?? false,
    );
    expect(receiver.connected()).toBe(false);
    await nats.kill();
    await nats.start();
    await flows();
    expect(receiver.connected()).toBe(true);
    expect(receiver.problem()).toBeNull();
    // Of each process.
    expect(onlyWith(log, 'there is no connection to NATS')).toHaveLength(2);
    expect(onlyWith(log, 'the connection to NATS is back')).toHaveLength(2);
  });

  test('after JetStream was not available', async ({ skip }) => {
    if (!haveNats()) skip('nats-server is not installed');
    const nats = await ownNats();
    const { log, sender, receiver, flows } = await startFlow(nats.url);
    await nats.kill();
    await nats.start([]);
    await until(
      async () => receiver.problem(),
      (problem) => problem === 'events of users cannot be received: JetStream is not available (503)',
    );
    await expect(sender.publish('users', [eventOf(1)])).rejects.toThrow('JetStream is not available (503)');
    await nats.kill();
    await nats.start();
    await flows();
    expect(onlyWith(log, 'events of users cannot be received from NATS')).toHaveLength(1);
    expect(onlyWith(log, 'events of users are received from NATS again')).toHaveLength(1);
  });

  test('after the stream, the consumer and the disk were lost while nothing was published', async ({ skip }) => {
    if (!haveNats()) skip('nats-server is not installed');
    const nats = await ownNats();
    const { flows } = await startFlow(nats.url);
    const manage = async <T>(use: (manager: JetStreamManager) => Promise<T>) => {
      const connection = await connect({ servers: nats.url });
      return use(await connection.jetstreamManager()).finally(() => connection.close());
    };
    const consumers = () =>
      manage((manager) => manager.consumers.info('tributary_users', 'reader_from_users')).then(
        () => 'there',
        (error: Error) => error.message,
      );
    const isThere = (answer: string) => answer === 'there';
    await manage((manager) => manager.streams.delete('tributary_users'));
    await until(consumers, isThere, BACK_WITHIN_MS);
    await flows();
    await manage((manager) => manager.consumers.delete('tributary_users', 'reader_from_users'));
    await until(consumers, isThere, BACK_WITHIN_MS);
    await flows();
    await nats.kill();
    nats.loseDisk();
    await nats.start();
    await until(consumers, isThere, BACK_WITHIN_MS);
    await flows();
  });
});

test('subscriptions end within 5 s while NATS hangs; others come again when it goes on', async ({ skip }) => {
  if (!haveNats()) skip('nats-server is not installed');
  const nats = await ownNats();
  const { sender, receiver, flows } = await startFlow(nats.url);
  process.kill(nats.pid as number, 'SIGSTOP');
  const connecting = new NatsBus({ url: nats.url, name: 'connecting', logger: logTo([]) });
  const listener = { onEvents: async () => undefined, onEndPosition: () => undefined };
  const stops = await Promise.all([connecting, sender].map((bus, i) => bus.subscribe('users', `other${i}`, listener)));
  const begunAt = performance.now();
  await Promise.all(stops.map((stop) => stop()));
  await connecting.close();
  expect(performance.now() - begunAt).toBeLessThan(BACK_WITHIN_MS);
  await until(
    async () => receiver.problem(),
    (problem) => problem !== null,
  );
  process.kill(nats.pid as number, 'SIGCONT');
  await flows();
});

test('a service without NATS is degraded, and says why', async ({ skip }) => {
  if (!haveNats()) skip('nats-server is not installed');
  const nats = await ownNats();
  const databases = await cloneDatabases();
  cleanUps.push(() => databases.drop());
  const env = {
    USERS_PORT: '0',
    USERS_DATABASE_URL: databases.urls.users,
    AUTH_SECRET: 'a secret for tests, at least 32 characters long',
    ORDERS_URL: 'http://127.0.0.1:1',
    NATS_URL: nats.url,
  };
  const service = await users.create(env, logTo([]));
  const url = await service.listen();
  cleanUps.push(() => service.close());
  const read = async () => {
    const health = await fetch(`${url}/health/ready`);
    const { status, degraded } = (await health.json()) as { status: string; degraded?: Record<string, string> };
    const metrics = await (await fetch(`${url}/metrics`)).text();
    const connected = /^bus_connected\{.*\} (\d)$/m.exec(metrics)?.[1];
    return { code: health.status, status, bus: degraded?.['event bus'], connected };
  };
  await until(read, ({ bus, connected }) => bus === undefined && connected === '1');
  await nats.kill();
  const without = await until(read, ({ bus }) => bus !== undefined);
  expect(without).toEqual({ code: 200, status: 'degraded', bus: expect.stringContaining('NATS'), connected: '0' });
  await nats.start();
  await until(read, ({ bus, connected }) => bus === undefined && connected === '1', BACK_WITHIN_MS);
});

test('an event that a former leader was publishing when personal data was erased does not stay in the stream', async ({
  skip,
}) => {
  if (!haveNats()) skip('nats-server is not installed');
  const nats = await ownNats();
  const databases = await createItemDatabases(1);
  cleanUps.push(() => databases.drop());
  const client = new pg.Client(databases.urls.items);
  await client.connect();
  cleanUps.push(() => client.end());
  // What the log has of a user who was deleted.
  await client.query(
    `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
     select gen_random_uuid(), 'ItemChanged', 1, 'Item', 'i0', version, now(), '{"erased": true}' from generate_series(1, 3) as versions (version)`,
  );
  const { hostname, port } = new URL(inject('postgresUrl'));
  const database = await startTcpProxy(hostname, Number(port));
  cleanUps.push(() => database.close());
  const bus = new NatsBus({ url: nats.url, name: 'items', logger: pino({ level: 'silent' }) });
  const owner = await startItems(databases, { database, bus });
  cleanUps.push(() => owner.stop());
  const connection = await connect({ servers: nats.url });
  cleanUps.push(() => connection.close());
  const manager = await connection.jetstreamManager();
  const stream = 'tributary_items';
  const inStream = async () => {
    const { first_seq: first, last_seq: last } = (await manager.streams.info(stream)).state;
    const all: (StoredMsg | null)[] = [];
    for (let seq = first; seq <= last; seq++)
      all.push(await manager.streams.getMessage(stream, { seq }).catch(() => null));
    return all.flatMap((message) => message?.string() ?? []);
  };
  await until(
    () => inStream().catch(() => []),
    (messages) => messages.length === 3,
  );
  // As when the second event comes late from a former leader, with what was erased since.
  const late = JSON.stringify({ ...eventOf(2), data: { email: 'ann@example.org' } });
  await connection.jetstream().publish(`tributary.events.items.Item.${Buffer.from('i0').toString('base64url')}`, late);
  expect(await inStream()).toContain(late);
  // Until it is purged, it is not noted as published: a relay that leads next purges it, too.
  expect((await client.query('select published::int from ledger')).rows).toEqual([{ published: 0 }]);
  await until(
    async () => (await client.query('select published::int from ledger')).rows[0]?.published,
    (published) => published === 3,
  );
  expect(await inStream()).toEqual([]);
});

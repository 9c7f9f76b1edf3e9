import { freePort } from '@tributary/cli';
import { listenToNotifications, openDatabase } from '@tributary/postgres';
import { isTransient } from '@tributary/server';
import { definition as users } from '@tributary/users';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { startGraph } from '../harness/graph.ts';
import { ask } from '../harness/graphql-client.ts';
import { startTcpProxy, type TcpProxy, through } from '../harness/tcp-proxy.ts';
import { until } from '../harness/until.ts';

// A firewall or load balancer forgets connections: they stay open and swallow everything, while new ones work.

let databases: TestDatabases;
beforeAll(async () => {
  databases = await cloneDatabases();
});
afterAll(() => databases.drop());

const cleanUps: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});

/** The users database, and the same through a proxy. */
async function openThroughProxy(): Promise<{ proxy: TcpProxy; direct: string; url: string }> {
  const { hostname, port } = new URL(databases.urls.users);
  const proxy = await startTcpProxy(hostname, Number(port));
  cleanUps.push(() => proxy.close());
  return { proxy, direct: databases.urls.users, url: through(proxy, databases.urls.users) };
}

async function startUsers(proxy: TcpProxy, url: string) {
  const env = {
    USERS_PORT: '0',
    USERS_DATABASE_URL: url,
    AUTH_SECRET: 'a secret for tests, at least 32 characters long',
    ORDERS_URL: 'http://127.0.0.1:1',
  };
  const service = await users.create(env, pino({ level: 'silent' }));
  const address = await service.listen();
  cleanUps.push(() => {
    proxy.cut();
    return service.close();
  });
  const read = async () => {
    const { data, errors } = await ask(address, 'query Users { users(first: 1) { totalCount } }');
    return errors === undefined && data !== null;
  };
  const isReady = async () => (await fetch(`${address}/health/ready`)).ok;
  return { read, isReady };
}

test('a read after a pause takes new connections when the old ones are silent', async () => {
  const { proxy, url } = await openThroughProxy();
  const { read, isReady } = await startUsers(proxy, url);
  expect(await Promise.all(Array.from({ length: 10 }, read))).not.toContain(false);
  proxy.swallow();
  // As long as a connection is trusted without a check.
  await new Promise((resolve) => setTimeout(resolve, 2100));
  const begunAt = performance.now();
  expect(await Promise.all(Array.from({ length: 5 }, read))).not.toContain(false);
  expect(performance.now() - begunAt).toBeLessThan(5000);
  for (let i = 0; i < 10; i++) expect([await isReady(), await read()]).toEqual([true, true]);
});

test('connections that are silent under load are replaced within seconds of the first time-outs, and readiness does not flap', async () => {
  const { proxy, url } = await openThroughProxy();
  const { read, isReady } = await startUsers(proxy, url);
  expect(await Promise.all(Array.from({ length: 10 }, read))).not.toContain(false);
  proxy.swallow();
  // They are all in use when they become silent.
  const lost = Array.from({ length: 10 }, read);
  await until(read, (answered) => answered, 13_000);
  await until(isReady, (ready) => ready, 1000);
  for (let i = 0; i < 20; i++) expect([await isReady(), await read()]).toEqual([true, true]);
  await Promise.all(lost);
});

test('a LISTEN connection that is silent is replaced within seconds', async () => {
  const { proxy, direct, url } = await openThroughProxy();
  const db = openDatabase({ url: direct, applicationName: 'test' });
  cleanUps.push(() => db.destroy());
  const received: string[] = [];
  let listening = 0;
  const stop = listenToNotifications({
    url,
    applicationName: 'test-listener',
    channel: 'tested',
    onPayload: (payload) => received.push(payload),
    onListening: () => {
      listening++;
    },
  });
  cleanUps.push(stop);
  await until(
    async () => listening,
    (times) => times === 1,
  );
  proxy.swallow();
  await until(
    async () => {
      await sql`select pg_notify('tested', 'hello')`.execute(db);
      return received;
    },
    (payloads) => payloads.includes('hello'),
    10_000,
  );
  expect(listening).toBe(2);
  // Nor does it hinder the end.
  proxy.pause();
  const begunAt = performance.now();
  await stop();
  expect(performance.now() - begunAt).toBeLessThan(5000);
});

test('a pool closes within 5 s while a statement hangs', async () => {
  const { proxy, url } = await openThroughProxy();
  const db = openDatabase({ url, applicationName: 'test-closing' });
  const waiting = sql`select pg_sleep(60)`.execute(db).catch((error: Error) => error);
  await until(
    () =>
      databases.query('users', `select from pg_stat_activity where query like '%pg_sleep(60)' and state = 'active'`),
    (running) => running.length === 1,
  );
  proxy.pause();
  const begunAt = performance.now();
  await db.destroy();
  expect(performance.now() - begunAt).toBeLessThan(5000);
  expect(isTransient(await waiting)).toBe(true);
});

test('a database that does not respond shows in metrics and in one log line, whether it refuses connections or hangs', async () => {
  const { hostname, port } = new URL(databases.urls.orders);
  const proxy = await startTcpProxy(hostname, Number(port));
  cleanUps.push(() => proxy.close());
  const lines: { level: number; msg: string; task?: string; cause?: string }[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const graph = await startGraph({
    databases: { ...databases, drop: async () => undefined },
    logger,
    ordersEnv: { ORDERS_DATABASE_URL: through(proxy, databases.urls.orders) },
  });
  cleanUps.push(() => graph.stop());
  const { orders } = graph.urls;
  const scrape = async () => {
    const response = await fetch(`${orders}/metrics`, { signal: AbortSignal.timeout(2500) });
    return { status: response.status, text: await response.text() };
  };
  const isUp = (value: 0 | 1) =>
    until(scrape, ({ status, text }) => status === 200 && new RegExp(`^database_up\\{.*\\} ${value}$`, 'm').test(text));
  const ofDatabase =
    /^(relay_oldest_seconds|relay_backlog_events|dead_letters|sagas_open|sagas_stuck|saga_oldest_seconds)\b/gm;
  const read = () => ask(orders, 'query Orders { orders(first: 1) { totalCount } }');
  await isUp(1);
  expect(new Set((await scrape()).text.match(ofDatabase)).size).toBeGreaterThanOrEqual(5);

  proxy.redirect(await freePort());
  expect((await isUp(0)).text.match(ofDatabase)).toBeNull();
  const log = await fetch(`${orders}/ledger?after=0`);
  expect(log.status).toBe(503);
  expect(await log.text()).toContain('The database of orders does not respond');
  const before = lines.length;
  for (let i = 0; i < 20; i++)
    expect((await read()).errors?.[0]).toMatchObject({ extensions: { code: 'SUBGRAPH_UNAVAILABLE' } });
  const failed = lines
    .slice(before)
    .filter(({ msg }) => /^(request failed|a field|a request|a regular task)/.test(msg));
  expect(failed).toEqual([]);
  proxy.redirect(Number(port));
  await isUp(1);

  proxy.pause();
  expect((await isUp(0)).text.match(ofDatabase)).toBeNull();
  proxy.resume();
  await isUp(1);
  await until(read, ({ errors }) => errors === undefined);
  const messages = lines.filter(({ msg }) => /^the database /.test(msg)).map(({ msg }) => msg);
  expect(messages).toEqual([
    'the database does not answer',
    'the database answers again',
    'the database does not answer',
    'the database answers again',
  ]);
}, 40_000);

test('waiting for a lock is a passing failure, and a statement that takes too long is not', async () => {
  const { direct } = await openThroughProxy();
  const db = openDatabase({ url: direct, applicationName: 'test', statementTimeoutMs: 400 });
  cleanUps.push(() => db.destroy());
  const failure = (run: () => Promise<unknown>) =>
    run().then(
      () => expect.fail('it did not fail'),
      (error: { code?: string }) => error,
    );
  const tooSlow = await failure(() => sql`select pg_sleep(5)`.execute(db));
  expect([tooSlow.code, isTransient(tooSlow)]).toEqual(['57014', false]);
  await db.transaction().execute(async (transaction) => {
    await sql`lock table users in access exclusive mode`.execute(transaction);
    const locked = await failure(() => sql`select count(*) from users`.execute(db));
    expect([locked.code, isTransient(locked)]).toEqual(['55P03', true]);
  });
  expect(isTransient(new Error('the connection of "timeout" to the event is bad'))).toBe(false);
});

import { readFileSync } from 'node:fs';
import { freePort } from '@tributary/cli';
import { createHttpService } from '@tributary/server';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { haveNats, startNats, type TestNats } from '../harness/nats.ts';
import { isAlive, type RunningProgram, runProgram } from '../harness/process.ts';
import { startTcpProxy, type TcpProxy, through } from '../harness/tcp-proxy.ts';
import { until } from '../harness/until.ts';

// Every program ends within 5 s of SIGTERM, besides SHUTDOWN_DELAY and requests in flight, whatever hangs.

const END_MS = 5000;

let databases: TestDatabases;
let nats: TestNats | undefined;
const cleanUps: (() => Promise<unknown>)[] = [];
beforeAll(async () => {
  databases = await cloneDatabases();
  if (haveNats()) nats = await startNats();
});
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp();
});
afterAll(async () => {
  await nats?.remove();
  await databases?.drop();
});

function run(entry: string, env: NodeJS.ProcessEnv): RunningProgram {
  const program = runProgram(entry, [], env);
  cleanUps.push(async () => {
    program.kill('SIGKILL');
    await program.ended;
  });
  return program;
}

async function proxyTo(url: string): Promise<TcpProxy> {
  const { hostname, port } = new URL(url);
  const proxy = await startTcpProxy(hostname, Number(port));
  cleanUps.push(() => proxy.close());
  return proxy;
}

const isReady = (url: string) =>
  until(
    () => fetch(`${url}/health/ready`).then((response) => response.status, String),
    (status) => status === 200,
    60_000,
  );

/** @returns how it ended, and after how many milliseconds */
async function end(program: RunningProgram, signal: NodeJS.Signals = 'SIGTERM') {
  const toldAt = performance.now();
  program.kill(signal);
  const status = await program.ended;
  return { status, afterMs: performance.now() - toldAt, output: program.output() };
}

/** The services, each with a database of its own behind one proxy, and what all of them need. */
async function startServices(env: NodeJS.ProcessEnv = {}) {
  const proxy = await proxyTo(databases.urls.users);
  const names = ['users', 'products', 'orders'] as const;
  const ports = new Map(await Promise.all(names.map(async (name) => [name, await freePort()] as const)));
  const all: NodeJS.ProcessEnv = { NATS_URL: nats?.url, ...env };
  for (const [name, port] of ports) {
    all[`${name.toUpperCase()}_PORT`] = String(port);
    all[`${name.toUpperCase()}_URL`] = `http://localhost:${port}`;
    all[`${name.toUpperCase()}_DATABASE_URL`] = through(proxy, databases.urls[name]);
  }
  const programs = names.map((name) => run(`subgraphs/${name}/dist/main.js`, all));
  const urls = [...ports.values()].map((port) => `http://localhost:${port}`);
  return { proxy, programs, urls, env: all };
}

test.skipIf(!haveNats())(
  'services whose database and event bus hang end all the same, and say what they left',
  async () => {
    const { proxy, programs, urls } = await startServices();
    await Promise.all(urls.map(isReady));
    proxy.pause();
    process.kill(nats?.pid as number, 'SIGSTOP');
    cleanUps.push(async () => process.kill(nats?.pid as number, 'SIGCONT'));
    const ends = await Promise.all(programs.map((program) => end(program)));
    for (const { status, afterMs } of ends) {
      expect(status).toBe(0);
      expect(afterMs).toBeLessThan(END_MS);
    }
    for (const program of programs)
      expect(program.output()).toMatch(/"part":"[a-zA-Z ]+"[^\n]*a part does not close; it is left behind/);
  },
  90_000,
);

test('a second signal ends a program at once, even during a request', async () => {
  const { proxy, programs, urls } = await startServices({ NATS_URL: undefined });
  const [users] = programs as [RunningProgram];
  await isReady(urls[0] as string);
  proxy.pause();
  const asked = fetch(`${urls[0]}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{"query":"{ users(first: 1) { nodes { id } } }"}',
  }).catch(() => null);
  await fetch(`${urls[0]}/health/live`);
  const first = performance.now();
  users.kill('SIGTERM');
  // What npm sends at the same Ctrl-C is no second signal.
  users.kill('SIGTERM');
  await until(
    async () => performance.now() - first,
    (passedMs) => passedMs > 1500,
  );
  expect(isAlive(users.pid)).toBe(true);
  expect(await end(users)).toMatchObject({ status: 1 });
  expect(performance.now() - first).toBeLessThan(END_MS);
  expect(users.output()).toContain('a second stop signal');
  await asked;
}, 90_000);

test('a request whose handler hangs gets a response when its program ends', async () => {
  const service = createHttpService({
    name: 'test',
    host: '127.0.0.1',
    port: 0,
    logger: pino({ level: 'silent' }),
    readiness: async () => ({ ready: true }),
  });
  const begun = new Promise<void>((resolve) => {
    service.app.post('/graphql', () => {
      resolve();
      return new Promise(() => undefined);
    });
  });
  const asked = fetch(`${await service.listen()}/graphql`, { method: 'POST', headers: { 'x-request-id': 'hangs' } });
  await begun;
  await service.close();
  const response = await asked;
  expect(response.status).toBe(503);
  expect(response.headers.get('x-request-id')).toBe('hangs');
  expect(await response.json()).toEqual({
    errors: [
      {
        message: 'The server shut down before it could answer; try again.',
        extensions: { code: 'SUBGRAPH_UNAVAILABLE' },
      },
    ],
  });
});

test('a program that is still starting ends: its database is silent, its NATS, or its subgraphs', async () => {
  const { proxy, programs, env } = await startServices();
  proxy.pause();
  const gateway = run('gateway/dist/main.js', {
    ...env,
    PORT: '0',
    SUBGRAPHS: `a=http://localhost:${(await proxyTo(databases.urls.users)).port}/graphql`,
  });
  const workers = run('gateway/dist/main.js', { PORT: '0', PROCESSES: '2', SUBGRAPHS: 'a=http://127.0.0.1:1/graphql' });
  await Promise.all([
    gateway.printed(/cannot be (reached|composed)|gateway listens/),
    workers.printed(/cannot be reached/),
  ]);
  for (const { status, afterMs, output } of await Promise.all(
    [...programs, gateway, workers].map((program) => end(program)),
  )) {
    // One that has not come to listening for signals is ended by them.
    expect([0, 'SIGTERM'], output).toContain(status);
    expect(afterMs, output).toBeLessThan(END_MS);
  }
}, 90_000);

test('worker processes end with their parent, however it ends', async () => {
  const { programs, urls } = await startServices({ PROCESSES: '2', NATS_URL: undefined });
  await Promise.all(urls.map(isReady));
  const workersOf = ({ pid }: RunningProgram) =>
    readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(/\s+/).filter(Boolean).map(Number);
  const workers = programs.flatMap(workersOf);
  expect(workers).toHaveLength(6);
  const [users, products, orders] = programs as [RunningProgram, RunningProgram, RunningProgram];
  users.kill('SIGKILL');
  expect(await end(products)).toMatchObject({ status: 0 });
  expect(await end(orders, 'SIGINT')).toMatchObject({ status: 0 });
  await until(
    async () => workers.filter(isAlive),
    (alive) => alive.length === 0,
    END_MS,
  );
}, 90_000);

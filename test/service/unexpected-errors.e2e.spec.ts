import { type IncomingMessage, request } from 'node:http';
import { freePort } from '@tributary/cli';
import { Fault, privateLogs, repeat } from '@tributary/server';
import { pino } from 'pino';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { ask } from '../harness/graphql-client.ts';
import { preload } from '../harness/preload.ts';
import { isAlive, type RunningProgram, runProgram } from '../harness/process.ts';
import { startTcpProxy, type TcpProxy, through } from '../harness/tcp-proxy.ts';
import { startTestSubgraph, type TestSubgraph } from '../harness/test-subgraph.ts';
import { until } from '../harness/until.ts';

// What a running program does with an error that none of its code expects.

/** SIGUSR2 causes an unhandled rejection, SIGPIPE an uncaught exception; SIGWINCH advances the monotonic clock by a minute. */
const FAULTY = preload(`
  process.on('SIGUSR2', () => { Promise.reject(new Error('this is unhandled')); });
  process.on('SIGPIPE', () => { throw new Error('this is uncaught'); });
  process.on('SIGWINCH', () => { const now = performance.now.bind(performance); performance.now = () => now() + 61_000; });
`);

let databases: TestDatabases;
const running: RunningProgram[] = [];
const proxies: TcpProxy[] = [];
const subgraphs: TestSubgraph[] = [];
beforeAll(async () => {
  databases = await cloneDatabases();
});
afterEach(async () => {
  for (const program of running.splice(0)) {
    program.kill('SIGKILL');
    await program.ended;
  }
  for (const proxy of proxies.splice(0)) await proxy.close();
  for (const subgraph of subgraphs.splice(0)) await subgraph.down();
});
afterAll(() => databases?.drop());

/** Starts the users service, and waits until it serves. */
async function startUsers(env: NodeJS.ProcessEnv = {}): Promise<{ program: RunningProgram; url: string }> {
  const port = await freePort();
  const program = runProgram('subgraphs/users/dist/main.js', [], {
    USERS_PORT: String(port),
    USERS_DATABASE_URL: databases.urls.users,
    ...FAULTY,
    ...env,
  });
  running.push(program);
  const url = `http://localhost:${port}`;
  const status = () => fetch(`${url}/health/ready`).then((response) => response.status, String);
  await until(status, (now) => now === 200, 60_000);
  return { program, url };
}

const logged = (program: RunningProgram, pattern: RegExp) =>
  program
    .output()
    .split('\n')
    .filter((line) => pattern.test(line))
    .map((line) => JSON.parse(line));

test('a rejected promise is logged and counted, and the process continues', async () => {
  const { program, url } = await startUsers();
  program.kill('SIGUSR2');
  await program.printed(/this is unhandled/);
  const [line] = logged(program, /this is unhandled/);
  expect(line).toMatchObject({ level: 50, err: { type: 'Error', message: 'this is unhandled' } });
  expect(line.err.stack).toContain('at process');
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toMatch(/^unexpected_errors_total\{[^}]*kind="rejection"[^}]*\} 1$/m);
  expect((await ask(url, '{ users(first: 1) { nodes { id } } }')).errors).toBeUndefined();
});

test('after an exception a process answers its requests and ends with status 1; one of several is replaced', async () => {
  const { hostname, port } = new URL(databases.urls.users);
  const proxy = await startTcpProxy(hostname, Number(port));
  proxies.push(proxy);
  const [alone, several] = await Promise.all([
    startUsers({ USERS_DATABASE_URL: through(proxy, databases.urls.users) }),
    startUsers({ PROCESSES: '2', USERS_PROT: '1' }),
  ]);
  // Both have the variables of the one that started them.
  expect(several.program.output().match(/USERS_PROT is not a setting/g)).toHaveLength(1);
  const pids = () =>
    [...several.program.output().matchAll(/"pid":(\d+)[^\n]*users listens/g)].map(([, pid]) => Number(pid));
  await until(
    async () => pids().length,
    (n) => n === 2,
  );
  process.kill(pids()[0] as number, 'SIGPIPE');

  // Its database is silent: neither request is answered by its handler in time.
  proxy.pause();
  const send = (id: string) =>
    fetch(`${alone.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-request-id': id },
      body: JSON.stringify({ query: '{ users(first: 1) { nodes { id } } }' }),
    });
  const overdue = send('the-one-that-takes-a-minute');
  await fetch(`${alone.url}/health/live`);
  alone.program.kill('SIGWINCH');
  const late = await overdue;
  expect(late.status).toBe(500);
  expect(late.headers.get('x-request-id')).toBe('the-one-that-takes-a-minute');
  expect(await late.json()).toMatchObject({
    errors: [{ extensions: { code: 'INTERNAL_SERVER_ERROR', requestId: 'the-one-that-takes-a-minute' } }],
  });
  await alone.program.printed(/was not answered in time/);
  expect(logged(alone.program, /was not answered in time/)).toMatchObject([{ reqId: 'the-one-that-takes-a-minute' }]);
  // Its body never comes to an end.
  const body = new ReadableStream({ start: (controller) => controller.enqueue(new TextEncoder().encode('{')) });
  const asked = fetch(`${alone.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-request-id': 'the-one-under-way' },
    body,
    duplex: 'half',
  } as RequestInit);
  await fetch(`${alone.url}/health/live`);
  alone.program.kill('SIGPIPE');
  const response = await asked;
  expect(response.headers.get('x-request-id')).toBe('the-one-under-way');
  // Its handler answers as soon as it notices that the database is silent.
  const { errors } = (await response.json()) as { errors: unknown[] };
  expect(errors).toHaveLength(1);
  expect(await alone.program.ended).toBe(1);
  expect(logged(alone.program, /this is uncaught/)).toMatchObject([{ level: 60, err: { type: 'Error' } }]);

  // Meanwhile the other was replaced.
  await until(
    async () => pids().length,
    (n) => n === 3,
  );
  expect(logged(several.program, /this is uncaught/)).toHaveLength(1);
  expect((await ask(several.url, '{ users(first: 1) { nodes { id } } }')).errors).toBeUndefined();
}, 60_000);

test('a process whose log is no longer read still ends after exceptions, and on SIGTERM', async () => {
  const faults = preload(`
    const fail = () => { throw new Error('this is uncaught'); };
    process.on('SIGPIPE', () => { for (let i = 0; i < 3; i++) setImmediate(fail); });
  `);
  const [faulty, sound] = await Promise.all([startUsers(faults), startUsers()]);
  for (const { program } of [faulty, sound]) program.stopReading();
  faulty.program.kill('SIGPIPE');
  sound.program.kill('SIGTERM');
  expect(await faulty.program.ended).toBe(1);
  expect(await sound.program.ended).toBe(0);
}, 60_000);

/** A POST whose body the test sends, and whose response it reads, as slowly as it chooses. */
function post(url: string) {
  const sent = request(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'transfer-encoding': 'chunked' },
  });
  const response = new Promise<IncomingMessage>((resolve, reject) =>
    sent.once('response', resolve).once('error', reject),
  );
  return { sent, response };
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

test('a client that sends its request or reads its response for more than a minute gets all of it', async () => {
  const subgraph = await startTestSubgraph('type Query { large: String small: String hangs: String }');
  subgraphs.push(subgraph);
  const large = 'x'.repeat(30_000_000);
  const program = runProgram('gateway/dist/main.js', [], {
    GATEWAY_PORT: '0',
    SUBGRAPHS: `a=${subgraph.url}`,
    SUBGRAPH_TIMEOUT: '10m',
    ...FAULTY,
  });
  running.push(program);
  await program.printed(/serving a new supergraph/);
  const url = (await program.printed(/"url":"(http:[^"]+)"/))[1] as string;
  subgraph.answerWith((response, { query }) => {
    if (query.includes('hangs')) return;
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ data: query.includes('large') ? { large } : { small: 'yes' } }));
  });

  const [slow, slower, upload, hanging] = [post(url), post(url), post(url), post(url)];
  for (const { sent } of [slow, slower]) sent.end('{"query":"{ large }"}');
  upload.sent.write('{"query":');
  hanging.sent.end('{"query":"{ hangs }"}');
  const downloads = await Promise.all([slow.response, slower.response]);
  await fetch(`${url}/health/live`);
  program.kill('SIGWINCH');
  // Which is answered when all that wait for more than a minute are.
  expect((await hanging.response).statusCode).toBe(500);
  upload.sent.end('"{ small }"}');
  expect(await textOf(await upload.response)).toBe('{"data":{"small":"yes"}}');
  expect(await textOf(downloads[0])).toHaveLength(JSON.stringify({ data: { large } }).length);
  expect(logged(program, /was not answered in time/)).toHaveLength(1);
  const brokenOff = post(url);
  const failed = brokenOff.response.catch((error: unknown) => error);
  brokenOff.sent.write('{"query":');
  await fetch(`${url}/health/live`);
  brokenOff.sent.destroy();
  await failed;

  // At the end of the program it is waited for, and what is cut then was answered.
  const cut = new Promise((resolve) => downloads[1].once('error', resolve));
  program.kill('SIGTERM');
  await program.printed(/"stopping"/);
  await until(
    async () => {
      program.kill('SIGWINCH');
      return isAlive(program.pid);
    },
    (alive) => !alive,
  );
  expect(await program.ended).toBe(0);
  downloads[1].resume();
  await cut;
  expect(program.output()).not.toMatch(/answered with an error|request failed/);
}, 60_000);

test('an error of the database is logged without data of users, and no log has a password', async () => {
  await databases.query('users', `alter table users add constraint unlikely check (name not like 'Unlikely%')`);
  const { program, url } = await startUsers();
  const { errors } = await ask(
    url,
    'mutation { registerUser(input: { name: "Unlikely Person", email: "unlikely@person.test" }) { id } }',
  );
  expect(errors?.[0]?.extensions.code).toBe('INTERNAL_SERVER_ERROR');
  const [line] = logged(program, /a field could not be resolved/);
  expect(errors?.[0]?.extensions.requestId).toBe(line.reqId);
  expect(line.err).toMatchObject({ code: '23514', table: 'users', constraint: 'unlikely' });
  expect(line.err.message).toContain('violates check constraint "unlikely"');
  expect(program.output()).not.toMatch(/Unlikely Person|unlikely@person/);
  expect(program.output()).not.toContain(new URL(databases.urls.users).password);
});

test('logs hold no password, no token and no value that PostgreSQL quotes', async () => {
  const lines: string[] = [];
  const logger = pino({ ...privateLogs, base: null }, { write: (line: string) => void lines.push(line) });
  const error = await databases
    .query('users', `select 'alice@person.test'::numeric`)
    .catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: '22P02' });
  const wrapped = new Error(`the task failed: ${(error as Error).message}`, { cause: error });
  logger.error({ err: wrapped });
  const stop = repeat({
    name: 'a task',
    intervalMs: 10_000,
    logger,
    run: () => Promise.reject(error),
  });
  const fault = new Fault({ logger, began: 'it fails', ended: 'it works' });
  fault.failed(wrapped);
  expect(fault.cause).toBe('the task failed: invalid input syntax for type numeric: "***"');
  for (const problem of [
    'connect postgres://u:hunter2@hunter2@host/db failed',
    'connect redis://:hunter2/hunter2@host failed',
    'http://host/graphql?a=1&access_token=hunter2 failed',
    'it sent Basic aHVudGVyMg==',
    'it sent bearer hunter2',
  ])
    logger.warn({ problem });
  logger.warn({ request: { sent: { Authorization: 'Digest hunter2', cookie: 'session="hunter2"' } } });
  logger.warn({ where: 'file:///app/node_modules/@tributary/shared/a.js', url: 'http://host:4000/graphql' });
  await until(
    async () => lines.length,
    (count) => count === 10,
  );
  await stop();
  const output = lines.join('');
  expect(output).not.toMatch(/hunter2|aHVudGVyMg|alice/);
  expect(output).toContain('postgres://***@host/db');
  expect(output).toContain('http://host/graphql?a=1&access_token=***');
  expect(output).toContain('"file:///app/node_modules/@tributary/shared/a.js","url":"http://host:4000/graphql"');
});

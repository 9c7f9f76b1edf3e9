import { freePort } from '@tributary/cli/free-port';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { ask } from '../harness/graphql-client.ts';
import { preload } from '../harness/preload.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { startTcpProxy, type TcpProxy, through } from '../harness/tcp-proxy.ts';
import { until } from '../harness/until.ts';

// What a running program does with an error that none of its code expects.

/** SIGUSR2 rejects a promise that nobody handles; SIGPIPE throws where nobody catches; at SIGWINCH a minute has passed. */
const FAULTY = preload(`
  process.on('SIGUSR2', () => { Promise.reject(new Error('nobody handles this')); });
  process.on('SIGPIPE', () => { throw new Error('nobody catches this'); });
  process.on('SIGWINCH', () => { const now = performance.now.bind(performance); performance.now = () => now() + 61_000; });
`);

let databases: TestDatabases;
const running: RunningProgram[] = [];
const proxies: TcpProxy[] = [];
beforeAll(async () => {
  databases = await cloneDatabases();
});
afterEach(async () => {
  for (const program of running.splice(0)) {
    program.kill('SIGKILL');
    await program.ended;
  }
  for (const proxy of proxies.splice(0)) await proxy.close();
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
  await program.printed(/nobody handles this/);
  const [line] = logged(program, /nobody handles this/);
  expect(line).toMatchObject({ level: 50, err: { type: 'Error', message: 'nobody handles this' } });
  expect(line.err.stack).toContain('at process');
  const metrics = await (await fetch(`${url}/metrics`)).text();
  expect(metrics).toMatch(/^unexpected_errors_total\{[^}]*kind="rejection"[^}]*\} 1$/m);
  expect((await ask(url, '{ users(first: 1) { nodes { id } } }')).errors).toBeUndefined();
});

test('after an exception a process answers what it was asked, and ends with status 1; one of several is replaced', async () => {
  const { hostname, port } = new URL(databases.urls.users);
  const proxy = await startTcpProxy(hostname, Number(port));
  proxies.push(proxy);
  const [alone, several] = await Promise.all([
    startUsers({ USERS_DATABASE_URL: through(proxy, databases.urls.users) }),
    startUsers({ PROCESSES: '2' }),
  ]);
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
  expect(await late.json()).toMatchObject({ errors: [{ extensions: { code: 'INTERNAL_SERVER_ERROR' } }] });
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
  expect(response.status).toBe(503);
  expect(response.headers.get('x-request-id')).toBe('the-one-under-way');
  expect(await response.json()).toEqual({
    errors: [
      {
        message: 'The server shut down before it could answer; try again.',
        extensions: { code: 'SUBGRAPH_UNAVAILABLE' },
      },
    ],
  });
  expect(await alone.program.ended).toBe(1);
  expect(logged(alone.program, /nobody catches this/)).toMatchObject([{ level: 60, err: { type: 'Error' } }]);

  // Meanwhile the other was replaced.
  await until(
    async () => pids().length,
    (n) => n === 3,
  );
  expect(logged(several.program, /nobody catches this/)).toHaveLength(1);
  expect((await ask(several.url, '{ users(first: 1) { nodes { id } } }')).errors).toBeUndefined();
}, 60_000);

test('an error of the database is logged without what it says of users, and no log has a password', async () => {
  await databases.query('users', `alter table users add constraint unlikely check (name not like 'Unlikely%')`);
  const { program, url } = await startUsers();
  const { errors } = await ask(
    url,
    'mutation { registerUser(input: { name: "Unlikely Person", email: "unlikely@person.test" }) { id } }',
  );
  expect(errors?.[0]?.extensions.code).toBe('INTERNAL_SERVER_ERROR');
  const [line] = logged(program, /a field could not be resolved/);
  expect(line.err).toMatchObject({ code: '23514', table: 'users', constraint: 'unlikely' });
  expect(line.err.message).toContain('violates check constraint "unlikely"');
  expect(program.output()).not.toMatch(/Unlikely Person|unlikely@person/);
  expect(program.output()).not.toContain(new URL(databases.urls.users).password);
});

import { freePort } from '@tributary/cli';
import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { ask } from '../harness/graphql-client.ts';
import { haveNats, startNats } from '../harness/nats.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { until } from '../harness/until.ts';

// The stack as containers run it: a process per service, configured by its environment.

let databases: TestDatabases;
const running: RunningProgram[] = [];
beforeAll(async () => {
  databases = await cloneDatabases();
});
afterAll(async () => {
  for (const program of running) {
    program.kill('SIGKILL');
    await program.ended;
  }
  await databases?.drop();
});

function run(entry: string, env: NodeJS.ProcessEnv, ...args: string[]): RunningProgram {
  const program = runProgram(entry, args, env);
  running.push(program);
  return program;
}

async function urlOf(program: RunningProgram): Promise<string> {
  return (await program.printed(/"url":"(http:[^"]+)"/))[1] as string;
}

test.each(haveNats() ? ['polling', 'NATS'] : ['polling'])(
  'set up, serve, follow changes by %s, stop on SIGTERM',
  async (carrier) => {
    const nats = carrier === 'NATS' ? await startNats() : undefined;
    const ordersPort = await freePort();
    const events = {
      ORDERS_URL: `http://localhost:${ordersPort}`,
      EVENT_POLL_INTERVAL: nats ? '1h' : '100ms',
      ...(nats && { NATS_URL: nats.url }),
    };
    const environments = {
      users: { ...events, USERS_PORT: '0', USERS_DATABASE_URL: databases.urls.users },
      products: { ...events, PRODUCTS_PORT: '0', PRODUCTS_DATABASE_URL: databases.urls.products },
      orders: { ...events, ORDERS_PORT: String(ordersPort), ORDERS_DATABASE_URL: databases.urls.orders },
    };
    const urls: Record<string, string> = {};
    const subgraphs: string[] = [];
    for (const [name, env] of Object.entries(environments)) {
      const setUp = run(`subgraphs/${name}/dist/main.js`, env, 'setup');
      expect(await setUp.ended).toBe(0);
      expect(setUp.output()).toBe('The database is up to date.\n');
      const owners = { USERS_URL: urls.users, PRODUCTS_URL: urls.products };
      urls[name] = await urlOf(run(`subgraphs/${name}/dist/main.js`, { ...env, ...(name === 'orders' && owners) }));
      subgraphs.push(`${name}=${urls[name]}/graphql`);
    }
    await until(
      async () => (await fetch(`${urls.orders}/health/ready`)).status,
      (status) => status === 200,
    );
    const gateway = run('gateway/dist/main.js', { PORT: '0', SUBGRAPHS: subgraphs.join() });
    await gateway.printed(/serving a new supergraph/);
    const url = await urlOf(gateway);
    const { data } = await ask(
      url,
      '{ order(number: "CA-2016-152156") { total { amount } customer { segment } items { product { category } } } }',
    );
    expect(data.order).toEqual({
      total: { amount: '993.90' },
      customer: { segment: 'Consumer' },
      items: [{ product: { category: 'Furniture' } }, { product: { category: 'Furniture' } }],
    });

    await ask(url, `mutation { updateUser(id: "CG-12520", input: { name: "Claire by ${carrier}" }) { id } }`);
    await until(
      async () =>
        (await ask(url, '{ order(number: "CA-2016-152156") { customer { name } } }')).data.order.customer.name,
      (name) => name === `Claire by ${carrier}`,
    );

    const secret = new URL(databases.urls.users).password;
    for (const program of running.filter(({ output }) => output().includes('"url"'))) {
      program.kill('SIGTERM');
      expect(await program.ended).toBe(0);
      expect(program.output()).not.toContain(secret);
    }
    running.length = 0;
    await nats?.remove();
  },
  60_000,
);

test.each([
  [
    'subgraphs/users/dist/main.js',
    {},
    'USERS_DATABASE_URL: expected a URL such as postgres://role:password@host:5432/database; it is not set',
  ],
  [
    'subgraphs/orders/dist/main.js',
    { ORDERS_DATABASE_URL: 'postgres://a:hunter2@b/c', ORDERS_PORT: 'x' },
    'ORDERS_PORT: expected a port, 0-65535; got "x"',
  ],
  ['gateway/dist/main.js', { SUBGRAPHS: 'nonsense' }, 'SUBGRAPHS: expected name=url pairs such as'],
  ['gateway/dist/main.js', { SUPERGRAPH_PATH: '/no/such/file', PORT: '0' }, '/no/such/file'],
])('%s reports what is wrong with %j and ends', async (entry, env, words) => {
  const program = run(entry, env);
  expect(await program.ended).toBe(1);
  expect(program.output()).toContain(words);
  expect(program.output()).not.toContain('hunter2');
});

test('a gateway that waits for its subgraphs reports it, and stops on SIGTERM', async () => {
  const program = run('gateway/dist/main.js', { PORT: '0', SUBGRAPHS: 'a=http://127.0.0.1:1/graphql' });
  await program.printed(/"a\\" cannot be reached \(ECONNREFUSED\)/);
  await urlOf(program);
  program.kill('SIGTERM');
  expect(await program.ended).toBe(0);
});

test.each(['gateway', 'users'])('%s prints its version and names itself in its help', async (name) => {
  const entry = name === 'gateway' ? 'gateway/dist/main.js' : `subgraphs/${name}/dist/main.js`;
  const [version, help] = [run(entry, {}, '--version'), run(entry, {}, '--help')];
  expect(await version.ended).toBe(0);
  expect(version.output()).toMatch(/^\d+\.\d+\.\d+\n$/);
  expect(await help.ended).toBe(0);
  expect(help.output()).toMatch(new RegExp(`^Usage: ${name} `));
});

test('an unknown command is refused with the list of commands', async () => {
  const program = run('subgraphs/orders/dist/main.js', {}, 'destroy');
  expect(await program.ended).toBe(2);
  expect(program.output()).toMatch(/expected one command of serve, setup, rebuild; got "destroy"/);
});

test('a set-up that is killed while it waits for a lock leaves no session behind', async () => {
  const holder = new pg.Client(databases.urls.users);
  await holder.connect();
  await holder.query('begin; lock table kysely_migration in access exclusive mode');
  const sessions = async () =>
    (
      await databases.query(
        'users',
        "select wait_event_type as waits_for from pg_stat_activity where application_name = 'tributary-users-set-up'",
      )
    ).map(({ waits_for }) => waits_for);
  try {
    const setUp = run('subgraphs/users/dist/main.js', { USERS_DATABASE_URL: databases.urls.users }, 'setup');
    await until(sessions, (waiting) => waiting.includes('Lock'));
    setUp.kill('SIGKILL');
    await until(sessions, (waiting) => waiting.length === 0);
  } finally {
    await holder.end();
  }
});

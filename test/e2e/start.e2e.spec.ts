import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@tributary/cli';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { ask } from '../harness/graphql-client.ts';
import { isAlive, type RunningProgram, runProgram } from '../harness/process.ts';
import { until } from '../harness/until.ts';

const folder = mkdtempSync(join(tmpdir(), 'tributary-e2e-'));
const running: RunningProgram[] = [];
afterEach(async () => {
  for (const program of running.splice(0)) {
    program.kill('SIGINT');
    await program.ended;
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(args: readonly string[], env: NodeJS.ProcessEnv): RunningProgram {
  const program = runProgram('cli/bin/tributary.mjs', args, env);
  running.push(program);
  return program;
}
const cli = (...args: string[]) => run(args, {});

const PORTS = ['--gateway-port=0', '--users-port=0', '--products-port=0', '--orders-port=0'];
const startArgs = (name: string) => ['start', `--data-dir=${join(folder, name)}`, ...PORTS];
const start = (name: string, ...args: string[]) => cli(...startArgs(name), ...args);

async function graphOf(program: RunningProgram): Promise<string> {
  return (await program.printed(/Graph {5}(http:\S+)\/graphql/))[1] as string;
}

function postgresOf(name: string): number {
  return Number.parseInt(readFileSync(join(folder, name, 'postgres/postmaster.pid'), 'utf8'), 10);
}

describe('npm start', () => {
  test('imports once, answers the query that it prints, stops cleanly, and starts again with the data', async () => {
    const first = start('whole');
    const url = await graphOf(first);
    expect(first.output()).toMatch(/9,994 order lines read: 9,994 imported, 0 unusable/);
    expect(first.output()).not.toContain('cannot be read');
    expect(first.output()).toMatch(/import 100% \(7664\/7664\)/);
    const [, body] = await first.printed(/-d '(\{.+\})'/);
    const { query } = JSON.parse(body as string);
    const answer = await ask(url, query);
    expect(answer.errors).toBeUndefined();
    expect(answer.data.order.total).toEqual({ amount: '993.90', currency: 'USD' });
    await ask(url, 'mutation { updateUser(id: "CG-12520", input: { name: "Claire Changed" }) { id } }');

    const postgres = postgresOf('whole');
    first.kill('SIGINT');
    expect(await first.ended).toBe(0);
    expect(isAlive(postgres)).toBe(false);
    expect(first.output()).toMatch(/Stopping …\nStopped\.\n$/);

    const second = start('whole');
    const again = await graphOf(second);
    expect(second.output()).not.toMatch(/Import/);
    expect((await ask(again, '{ user(id: "CG-12520") { name } orders { totalCount } }')).data).toEqual({
      user: { name: 'Claire Changed' },
      orders: { totalCount: 5009 },
    });
  });

  test('killed with -9 it leaves nothing running, and starts again without losing what was committed', async () => {
    const first = start('killed', '--scale=0.02');
    const url = await graphOf(first);
    const { data } = await ask(url, 'mutation { registerUser(input: { name: "K", email: "k@k.test" }) { id } }');
    const postgres = postgresOf('killed');
    first.kill('SIGKILL');
    await first.ended;

    const second = start('killed', '--scale=0.02');
    const again = await graphOf(second);
    expect(second.output()).toContain(`Explore   ${again}  (Apollo Sandbox)   ${again}/graphiql`);
    expect(isAlive(postgres)).toBe(false);
    expect((await ask(again, `{ user(id: "${data.registerUser.id}") { name } }`)).data.user).toEqual({ name: 'K' });

    const next = postgresOf('killed');
    second.kill('SIGKILL');
    await until(
      async () => isAlive(next),
      (alive) => !alive,
    );
  });

  test('cut short while it imports, it leaves nothing running and nothing half done', async () => {
    const first = start('cut');
    await first.printed(/Importing/);
    const postgres = postgresOf('cut');
    first.kill('SIGTERM');
    expect(await first.ended).toBe(0);
    expect(isAlive(postgres)).toBe(false);

    const again = run(startArgs('cut'), { NODE_ENV: 'production' });
    const url = await graphOf(again);
    const welcome = /Explore .*\n[\s\S]*Ctrl-C/;
    const [text] = await again.printed(welcome);
    expect(text).toMatch(/^Explore {3}off: EXPLORER=on/);
    expect(text).not.toContain('graphiql');
    const { data } = await ask(url, '{ users { totalCount } products { totalCount } orders { totalCount } }');
    expect(data).toEqual({ users: { totalCount: 793 }, products: { totalCount: 1862 }, orders: { totalCount: 5009 } });
  });

  test('passes settings to the services, and names those that it ignores', async () => {
    const args = ['start', `--data-dir=${join(folder, 'settings')}`, ...PORTS, '--scale=0.02'];
    const env = { VERIFY_INTERVAL: '100ms', NATS_URL: 'nats://localhost:1', USERS_URL: 'x', LOG_LEVEL: 'error' };
    const program = runProgram('cli/bin/tributary.mjs', args, env);
    running.push(program);
    await graphOf(program);
    expect(program.output()).toMatch(/^Warning: start ignores USERS_URL, NATS_URL\.\n/);
    const { ORDERS_URL } = JSON.parse(readFileSync(join(folder, 'settings', 'running.json'), 'utf8'));
    await until(
      async () => (await fetch(`${ORDERS_URL}/metrics`)).text(),
      (metrics) => /^copy_differences\{.*source="users".*\} 0$/m.test(metrics),
    );
  });

  test('stops in order when its output is no longer read, at the latest on SIGINT', async () => {
    const importing = start('deaf', '--scale=0.02');
    await importing.printed(/Importing/);
    const first = postgresOf('deaf');
    importing.stopReading();
    expect(await importing.ended).toBe(0);
    expect(isAlive(first)).toBe(false);

    const ready = start('deaf', '--scale=0.02');
    await graphOf(ready);
    const second = postgresOf('deaf');
    ready.stopReading();
    ready.kill('SIGINT');
    expect(await ready.ended).toBe(0);
    expect(isAlive(second)).toBe(false);
    expect(existsSync(join(folder, 'deaf', 'running.json'))).toBe(false);
  });

  test('a second stack on the same folder is refused, and the first goes on', async () => {
    const url = await graphOf(start('shared', '--scale=0.02'));
    const second = start('shared', '--scale=0.02');
    expect(await second.ended).toBe(1);
    expect(second.output()).toMatch(/Another stack \(process \d+\) uses the data folder .*--data-dir/);
    expect((await ask(url, '{ categories { name } }')).errors).toBeUndefined();
  });

  test('another size of the data is refused with a remedy; --fresh accepts it', { timeout: 90_000 }, async () => {
    const first = start('sized', '--scale=0.02');
    await graphOf(first);
    first.kill('SIGINT');
    await first.ended;

    const refused = start('sized', '--scale=0.01');
    expect(await refused.ended).toBe(1);
    expect(refused.output()).toMatch(/has superstore at scale 0\.02; expected 0\.01/);

    // Files beside the data, and what a link leads to, are not ours to delete.
    const elsewhere = mkdtempSync(join(folder, 'elsewhere-'));
    for (const kept of [join(folder, 'sized', 'notes.txt'), join(elsewhere, 'old.log')]) writeFileSync(kept, 'mine');
    rmSync(join(folder, 'sized', 'postgres.log'));
    symlinkSync(elsewhere, join(folder, 'sized', 'postgres.log'));
    const fresh = start('sized', '--scale=0.01', '--fresh');
    const url = await graphOf(fresh);
    expect((await ask(url, '{ orders { totalCount } }')).data.orders.totalCount).toBe(50);
    expect(fresh.output()).toMatch(/^Files that Tributary did not write stay in .*sized: notes\.txt$/m);
    for (const kept of [join(folder, 'sized', 'notes.txt'), join(elsewhere, 'old.log')]) {
      expect(readFileSync(kept, 'utf8')).toBe('mine');
    }
    expect(statSync(join(folder, 'sized', 'secrets.json')).mode & 0o777).toBe(0o600);
  });

  test('of ten starts at the same time on a new folder one succeeds', { timeout: 90_000 }, async () => {
    const starts = Array.from({ length: 10 }, () => start('contested', '--scale=0.01'));
    const ended = new Map<RunningProgram, unknown>();
    for (const each of starts) void each.ended.then((status) => ended.set(each, status));
    await until(
      async () => ended.size,
      (size) => size === 9,
      60_000,
    );
    const winner = starts.find((each) => !ended.has(each)) as RunningProgram;
    await graphOf(winner);
    for (const [loser, status] of ended) {
      expect(loser.output()).toMatch(
        new RegExp(`^ *Another stack \\(process ${winner.pid}\\) uses the data folder .*--data-dir\\.\n$`, 'm'),
      );
      expect(loser.output()).not.toMatch(/PostgreSQL| {4}at /);
      expect(status).toBe(1);
    }
  });

  test('a port that is in use is named before anything starts', async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, 'localhost', resolve));
    const { port } = blocker.address() as { port: number };
    const program = cli('start', `--data-dir=${join(folder, 'blocked')}`, ...PORTS, `--orders-port=${port}`);
    expect(await program.ended).toBe(1);
    expect(program.output()).toContain(
      `Invalid settings:\n  --orders-port: expected a free port; got ${port}, which is in use`,
    );
    expect(program.output()).not.toContain('PostgreSQL');
    await new Promise((resolve) => blocker.close(resolve));
  });

  test('a port that is taken during the start is named in one line', async () => {
    const ports = await Promise.all([freePort(), freePort('127.0.0.1')]);
    const taken = join(folder, 'taken');
    const servers = ports.map(() => createServer());
    const program = cli('start', `--data-dir=${taken}`, '--scale=0.02', ...PORTS, `--gateway-port=${ports[0]}`);
    await program.printed(/Importing/);
    servers[0]?.listen(ports[0], 'localhost');
    expect(await program.ended).toBe(1);
    expect(program.output()).toMatch(
      /\nport \d+ is in use\. Stop the program that uses it, or choose another port with GATEWAY_PORT\.\n$/,
    );

    // PostgreSQL's, in a new folder, of which nothing is left that could be read.
    const other = join(folder, 'taken-too');
    const second = cli('start', `--data-dir=${other}`, ...PORTS, `--postgres-port=${ports[1]}`);
    await until(
      async () => existsSync(join(other, 'postgres.unfinished')),
      (exists) => exists,
    );
    servers[1]?.listen(ports[1], '127.0.0.1');
    expect(await second.ended).toBe(1);
    expect(second.output()).toBe('PostgreSQL did not start: could not create any TCP/IP sockets.\n');
    expect(existsSync(other)).toBe(false);
    for (const server of servers) await new Promise((resolve) => server.close(resolve));
  });

  test('--fresh does not delete a folder that is not a stack’s', async () => {
    const foreign = mkdtempSync(join(folder, 'foreign-'));
    writeFileSync(join(foreign, 'thesis.txt'), 'ten years of work');
    const program = cli('start', `--data-dir=${foreign}`, '--fresh', ...PORTS);
    expect(await program.ended).toBe(1);
    expect(program.output()).toContain(
      `expected a new or empty folder, or one with data of Tributary; got ${foreign}, which holds thesis.txt`,
    );
    expect(readFileSync(join(foreign, 'thesis.txt'), 'utf8')).toBe('ten years of work');
  });
});

describe('the command line', () => {
  test('--help lists every option', async () => {
    const program = cli('start', '--help');
    expect(await program.ended).toBe(0);
    for (const option of [
      '--data-dir',
      '--gateway-port',
      '--users-port',
      '--products-port',
      '--orders-port',
      '--postgres-port',
      '--scale',
      '--fresh',
      '--log-level',
    ]) {
      expect(program.output()).toContain(option);
    }
  });

  test.each([
    [['start', '--scale=1.5'], '--scale: expected a share between 0 and 1, or a whole number; got "1.5"\n'],
    [['start', '--gateway-port=http'], '--gateway-port: expected a port, 0-65535; got "http"\n'],
    [['dev', '--log-level=loud'], '--log-level: expected one of error, warn, info, debug; got "loud"\n'],
    [['rebuild', 'everything'], 'model: expected one of orders, products, users; got "everything"\n'],
    [['start', '--colour'], "unknown option '--colour'"],
    [['token', 'CG-12520', '--data-dir=/no/such/folder'], 'Run "npm start" first'],
  ])('%j is refused in words', async (args, words) => {
    const program = cli(...args);
    expect(await program.ended).toBe(1);
    expect(program.output()).toContain(words);
    expect(program.output()).not.toMatch(/^\n| {4}at /);
  });

  test('a token that it prints signs in', async () => {
    const url = await graphOf(start('token', '--scale=0.02'));
    const program = cli('token', 'someone', `--data-dir=${join(folder, 'token')}`);
    await program.ended;
    const { data } = await ask(url, '{ users(first: 1) { nodes { id name } } }');
    const [user] = data.users.nodes;
    const hers = cli('token', user.id, `--data-dir=${join(folder, 'token')}`);
    await hers.ended;
    const me = await ask(url, '{ me { name } }', {}, { authorization: `Bearer ${hers.output().trim()}` });
    expect(me.data.me).toEqual({ name: user.name });
    expect(program.output()).toMatch(/^ey\S+\nThere is no user "someone": this token cannot be used\.\n$/);
  });
});

describe("the operators' commands", () => {
  test('find the running stack by its data folder, and say so when none runs', { timeout: 60_000 }, async () => {
    const url = await graphOf(start('operated', '--scale=0.02'));
    const operate = async (...args: string[]) => {
      const program = cli(...args, `--data-dir=${join(folder, 'operated')}`);
      return { status: await program.ended, output: program.output() };
    };
    const { data } = await ask(url, '{ users(first: 1) { nodes { id } } }');
    await ask(url, `mutation { updateUser(id: "${data.users.nodes[0].id}", input: { name: "Operated" }) { id } }`);
    const lag = await until(
      async () => JSON.parse((await operate('lag', '--json')).output),
      (found: { consumer: string; source: string; position: number }[]) =>
        found.some(({ consumer, source, position }) => consumer === 'orders' && source === 'users' && position === 187),
    );
    const inSync = { behind: 0, lagSeconds: 0, problem: null };
    expect(lag).toEqual([
      { consumer: 'users', source: 'orders', position: 100, head: 100, ...inSync },
      { consumer: 'products', source: 'orders', position: 100, head: 100, ...inSync },
      { consumer: 'orders', source: 'users', position: 187, head: 187, ...inSync },
      { consumer: 'orders', source: 'products', position: expect.any(Number), head: expect.any(Number), ...inSync },
    ]);
    expect((await operate('lag')).output).toMatch(
      /^consumer +source +position +head +behind +lag \(s\) +problem\nusers +orders +100 +100 +0 +0\.0 +-\n/,
    );
    expect(await operate('dead-letters', 'list')).toEqual({ status: 0, output: 'There are no dead letters.\n' });
    expect((await operate('dead-letters', 'discard', 'orders', 'users', '3')).output).toContain(
      'orders has no dead letter of users at position 3.',
    );
    expect(await operate('sagas', 'list')).toEqual({ status: 0, output: 'Every placement is over.\n' });
    expect(await operate('sagas', 'retry', 'nobody')).toEqual({
      status: 1,
      output: 'No saga placed an order with number or id nobody.\n',
    });
    expect(await operate('rebuild', 'users')).toEqual({ status: 0, output: 'Rebuilt users from 187 events.\n' });
    const verified = await operate('verify', '--json');
    expect(verified.status).toBe(0);
    expect(JSON.parse(verified.output)).toEqual([
      { copy: 'users', differences: [], repaired: 0 },
      { copy: 'products', differences: [], repaired: 0 },
      { check: 'money and stock', findings: [], failures: [] },
    ]);
    expect((await operate('verify')).output).toContain('Money and stock agree.\n');

    const connections = JSON.parse(readFileSync(join(folder, 'operated', 'running.json'), 'utf8'));
    const port = await freePort();
    const partly = runProgram('cli/bin/tributary.mjs', ['lag'], {
      ...connections,
      USERS_URL: `http://localhost:${port}`,
    });
    expect(await partly.ended).toBe(1);
    expect(partly.output()).toMatch(/^consumer .*\nproducts +orders .*\norders +users .*\norders +products .*\n/);
    expect(partly.output()).toContain(`Cannot read the lag of users at http://localhost:${port} (ECONNREFUSED).\n`);
    const nowhere = cli('lag', `--data-dir=${join(folder, 'nowhere')}`);
    expect(await nowhere.ended).toBe(1);
    expect(nowhere.output()).toContain('No stack runs on the data folder');
  });
});

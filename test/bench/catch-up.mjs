// How fast orders catches up with users after an outage, what that costs and how much memory it takes. Each round starts a stack of its own on
// the built code, with NATS where `nats-server` is installed; with --base another built tree takes turns with this one.
//   node test/bench/catch-up.mjs [events] [rounds] [--base PATH]
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { freePort } from '@tributary/cli';
import { connect } from 'nats';
import pg from 'pg';
import { readCommandLine, readNumber } from '../command-line.mjs';

const { values, positionals } = readCommandLine({ options: { base: { type: 'string' } }, allowPositionals: true });
const events = readNumber('events', positionals[0] ?? '100000', { whole: true });
const rounds = readNumber('rounds', positionals[1] ?? '2', { whole: true });
const trees = [fileURLToPath(new URL('../../', import.meta.url))];
if (values.base) trees.unshift(resolve(values.base));
const withNats = spawnSync('nats-server', ['--version']).status === 0;
const TICKS_PER_SECOND = 100;

const results = new Map(trees.map((tree) => [tree, []]));
for (let round = 1; round <= rounds; round++) {
  for (const tree of trees) {
    const result = await measure(tree);
    results.get(tree).push(result);
    const { seconds, cpuSeconds, peakMB } = result;
    process.stdout.write(
      `round ${round}, ${tree}: ${events} events in ${seconds.toFixed(1)} s, ${((cpuSeconds / events) * 1e6).toFixed(0)} µs of CPU each, at most ${peakMB.toFixed(0)} MB\n`,
    );
  }
}
if (values.base) {
  const [base, own] = [...results.values()].map((all) => ({
    seconds: median(all.map((one) => one.seconds)),
    cpuSeconds: median(all.map((one) => one.cpuSeconds)),
    peakMB: median(all.map((one) => one.peakMB)),
  }));
  const ratio = (what) => `${what} ${(own[what] / base[what]).toFixed(2)}`;
  process.stdout.write(
    `medians, compared with the base: ${['seconds', 'cpuSeconds', 'peakMB'].map(ratio).join(', ')}\n`,
  );
}
process.exit(0);

async function measure(tree) {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
  const load = (path) => import(pathToFileURL(join(tree, path)).href);
  const [{ startLocalData }, { findServices }] = await Promise.all([
    load('cli/dist/local-stack.js'),
    load('cli/dist/services.js'),
  ]);
  const data = await startLocalData(
    await findServices(),
    { dataDir: join(folder, 'data'), postgresPort: 0, scale: 0.05, fresh: false },
    () => undefined,
    new AbortController().signal,
  );
  const [natsPort, users, products, orders] = await Promise.all(Array.from({ length: 4 }, freePort));
  const nats =
    withNats &&
    spawn('nats-server', ['-a', '127.0.0.1', '-p', String(natsPort), '-js', '-sd', join(folder, 'nats')], {
      stdio: 'ignore',
    });
  const env = {
    ...process.env,
    NODE_ENV: 'production',
    LOG_LEVEL: 'warn',
    ...(nats && { NATS_URL: `nats://127.0.0.1:${natsPort}` }),
    INTERNAL_SECRET: data.internalSecret,
    AUTH_SECRET: data.tokenSecret,
    USERS_URL: `http://localhost:${users}`,
    PRODUCTS_URL: `http://localhost:${products}`,
    ORDERS_URL: `http://localhost:${orders}`,
    USERS_PORT: users,
    PRODUCTS_PORT: products,
    ORDERS_PORT: orders,
    USERS_DATABASE_URL: data.databaseUrls.users,
    PRODUCTS_DATABASE_URL: data.databaseUrls.products,
    ORDERS_DATABASE_URL: data.databaseUrls.orders,
  };
  const run = (name) =>
    spawn(process.execPath, [join(tree, `subgraphs/${name}/dist/main.js`)], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  const owners = [run('users'), run('products')];
  const away = run('orders');
  await again(async () => {
    if (!(await fetch(`http://localhost:${orders}/health/ready`)).ok) throw new Error('not ready');
  });
  await end(away);

  const client = new pg.Client(data.databaseUrls.users);
  await client.connect();
  await client.query(
    `insert into outbox (id, type, schema_version, aggregate_type, aggregate_id, aggregate_version, occurred_at, data)
     select gen_random_uuid(), 'UserUpdated', 1, 'User', id, 1000000 + n, now(), jsonb_build_object('name', 'Name ' || n, 'email', email, 'segment', segment, 'status', status)
     from generate_series(1, $1::integer / 20) as n, (select * from users order by id limit 20) as chosen`,
    [events],
  );
  const target = await again(async () => {
    const { rows } = await client.query(
      'select head::int, published::int, (select count(*)::int from outbox where position is null) as left from ledger',
    );
    if (rows[0].left > 0 || rows[0].published < rows[0].head) throw new Error('not published yet');
    return rows[0].head;
  });
  await client.end();

  const startedAt = performance.now();
  const consumer = run('orders');
  await again(async () => {
    const copies = await (await fetch(`http://localhost:${orders}/copies`)).json();
    if (copies.users.position < target) throw new Error('it catches up');
  }, 20);
  const seconds = (performance.now() - startedAt) / 1000;
  // What the bus had for it comes, too; that it takes time and memory counts.
  if (nats) await emptied(env.NATS_URL);
  const stat = readFileSync(`/proc/${consumer.pid}/stat`, 'utf8').split(') ')[1].split(' ');
  const cpuSeconds = (Number(stat[11]) + Number(stat[12])) / TICKS_PER_SECOND;
  const peakMB = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${consumer.pid}/status`, 'utf8'))[1]) / 1024;
  for (const child of [consumer, ...owners, ...(nats ? [nats] : [])]) await end(child);
  await data.stop();
  rmSync(folder, { recursive: true, force: true });
  return { seconds, cpuSeconds, peakMB };
}

async function emptied(url) {
  const connection = await connect({ servers: url });
  const manager = await connection.jetstreamManager();
  await again(async () => {
    const { num_pending, num_ack_pending } = await manager.consumers.info('tributary_users', 'orders_from_users');
    if (num_pending + num_ack_pending > 0) throw new Error('events are in flight');
  });
  await connection.close();
}

async function again(attempt, pauseMs = 100) {
  for (const until = performance.now() + 600_000; ; ) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > until) throw error;
      await sleep(pauseMs);
    }
  }
}

async function end(child) {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

// How fast orders catches up with users after an outage, what that costs and how much memory it takes. Each round starts a stack of its own on
// the built code, with NATS where `nats-server` is installed; with --base another built tree takes turns with this one.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { environmentOf, freePort, portsOf } from '@tributary/cli';
import { connect } from 'nats';
import pg from 'pg';
import { readCommandLine, readNumber, refuse } from '../command-line.mjs';
import { freePorts } from './stacks.mjs';

const { values, positionals } = readCommandLine({
  options: { base: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
  allowPositionals: true,
});
if (values.help) {
  process.stdout.write(`node test/bench/catch-up.mjs [events] [rounds] [--base PATH]

  events       changes of users that orders catches up with (100000)
  rounds       how often each tree is measured, in turns (2)
  --base PATH  another built tree, to compare this one with\n`);
  process.exit(0);
}
if (positionals.length > 2) refuse('expected at most these arguments: events, rounds');
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
  const services = await findServices();
  const data = await startLocalData(
    services,
    { dataDir: join(folder, 'data'), postgresPort: 0, scale: 0.05, fresh: false },
    () => undefined,
    new AbortController().signal,
  );
  const natsPort = await freePort();
  const ports = await portsOf(services, freePorts(services));
  const orders = `http://localhost:${ports.get('orders')}`;
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
    ...environmentOf(services, ports, data.databaseUrls),
  };
  const run = (name) =>
    spawn(process.execPath, [join(tree, `subgraphs/${name}/dist/main.js`)], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  const owners = [run('users'), run('products')];
  const away = run('orders');
  await again(async () => {
    if (!(await fetch(`${orders}/health/ready`)).ok) throw new Error('not ready');
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
    const copies = await (await fetch(`${orders}/copies`)).json();
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

import { readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '@tributary/cli';
import pg from 'pg';
import { afterAll, expect, test } from 'vitest';
import type { FaultStack } from '../harness/fault-stack.ts';
import { type RunningProgram, runProgram } from '../harness/process.ts';
import { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';
import { expectOrdersInOrder, unsettled } from './order-accounts.ts';
import { OrderClients } from './order-clients.ts';

// The stack as `npm start` runs it, one process with PostgreSQL beside it, killed while orders are placed, and started again.
const SEED = Number(process.env.FAULT_SEED ?? 14);
const ORDERS = Number(process.env.FAULT_ORDERS ?? 60);
const KILLS = Math.max(3, Math.floor(ORDERS / 30));

let folder: string | undefined;
let running: RunningProgram | undefined;
afterAll(async () => {
  running?.kill('SIGTERM');
  await running?.ended;
  if (folder) rmSync(folder, { recursive: true, force: true });
}, 60_000);

test(`${ORDERS} orders while the whole stack is killed ${KILLS} times (seed ${SEED})`, {
  timeout: 180_000 + ORDERS * 2000,
}, async () => {
  folder = await mkdtemp(join(tmpdir(), 'tributary-start-'));
  const dataDir = join(folder, 'data');
  const names = ['gateway', 'users', 'products', 'orders'];
  const ports = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await freePort()])));
  const flags = names.map((name) => `--${name}-port=${ports[name]}`);
  const start = async () => {
    running = runProgram('cli/bin/tributary.mjs', ['start', '--scale=0.02', `--data-dir=${dataDir}`, ...flags]);
    await running.printed(/Tributary is ready/);
  };
  await start();
  const random = new Random(SEED);
  const stack = () => connect(dataDir, `http://localhost:${ports.gateway}`);
  const ids = async (service: 'users' | 'products') =>
    (await stack().query<{ id: string }>(service, `select id from ${service} order by id limit 20`)).map(
      ({ id }) => id,
    );
  const shop = { gateways: stack().gateways, customers: await ids('users'), products: await ids('products') };
  const clients = new OrderClients(shop, SEED);
  const placing = clients.run(ORDERS, 8);
  for (let kill = 1; kill <= KILLS; kill++) {
    const due = Math.floor((kill * ORDERS) / (KILLS + 1)) + random.below(4);
    await Promise.race([
      placing,
      until(
        async () => clients.done,
        (done) => done >= due,
        60_000,
      ),
    ]);
    running?.kill('SIGKILL');
    await running?.ended;
    await start();
  }
  await placing;
  await until(
    () => unsettled(stack().query),
    (left) => left === 0,
    60_000,
  );
  await expectOrdersInOrder(stack(), clients.orders);
  expect(clients.orders).toHaveLength(ORDERS);
});

/** The stack as its data folder says where it is now. */
function connect(
  dataDir: string,
  gateway: string,
): Pick<FaultStack, 'query' | 'gateways' | 'urls' | 'databaseUrls' | 'internalSecret'> {
  const connections = JSON.parse(readFileSync(join(dataDir, 'running.json'), 'utf8')) as Record<string, string>;
  const of = (suffix: string) =>
    Object.fromEntries(
      ['users', 'products', 'orders'].map((name) => [name, connections[`${name.toUpperCase()}_${suffix}`]]),
    );
  const databaseUrls = of('DATABASE_URL') as FaultStack['databaseUrls'];
  return {
    gateways: [gateway],
    urls: of('URL') as FaultStack['urls'],
    databaseUrls,
    internalSecret: connections.INTERNAL_SECRET,
    async query<Row>(service: keyof FaultStack['databaseUrls'], sql: string, values: unknown[] = []) {
      const client = new pg.Client(databaseUrls[service]);
      await client.connect();
      try {
        return (await client.query(sql, values)).rows as Row[];
      } finally {
        await client.end();
      }
    },
  };
}

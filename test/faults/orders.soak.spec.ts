import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FaultStack, startFaultStack } from '../harness/fault-stack.ts';
import { haveNats } from '../harness/nats.ts';
import { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';
import { FaultInjector } from './fault-injector.ts';
import { type FaultKind, faultKinds } from './fault-kinds.ts';
import { describeRound, describeRun } from './fault-report.ts';
import { expectOrdersInOrder, unsettled } from './order-accounts.ts';
import { OrderClients } from './order-clients.ts';

// Orders under fire: faults of every kind are made while clients place, repeat and cancel orders.
// `npm run soak -- faults` is the long run.
const FAULTS = Number(process.env.FAULTS ?? 7);
const SEED = Number(process.env.FAULT_SEED ?? 14);
/** The kinds of fault to choose from, with commas; by default all. */
const KINDS = process.env.FAULT_KINDS?.split(',');
const REPORT = process.env.FAULT_REPORT;
/** A folder for what the programs logged. */
const LOGS = process.env.FAULT_LOGS;
const EARLIER_RELEASE = process.env.TRIBUTARY_EARLIER_RELEASE;
const CLIENTS = 6;
/** How long a client rests after an order: faults are looked for here, not the limits of the machine. */
const REST_MS = 300;
const SETTLE_MS = 60_000;

let stack: FaultStack | undefined;
beforeAll(async () => {
  if (haveNats()) stack = await startFaultStack(0.05);
}, 180_000);
afterAll(async () => {
  for (const { name, output } of Object.values((LOGS && stack?.programs) || {})) {
    writeFileSync(join(LOGS as string, `${name}.log`), output());
  }
  await stack?.stop();
}, 60_000);

test(`orders by ${CLIENTS} clients under ${FAULTS} faults (seed ${SEED})`, {
  timeout: 240_000 + FAULTS * 60_000,
}, async ({ skip }) => {
  if (!stack) return skip('nats-server is not installed');
  const { query } = stack;
  const ids = async (service: 'users' | 'products', limit: number) =>
    (await query<{ id: string }>(service, `select id from ${service} order by id limit ${limit}`)).map(({ id }) => id);
  const products = await ids('products', 100);
  const shop = { gateways: stack.gateways, customers: await ids('users', 40), products: products.slice(0, 60) };
  const clients = new OrderClients(shop, SEED);
  await fillUp(clients, shop.customers.slice(0, 30), products.slice(0, 90));

  const random = new Random(SEED);
  const world = { stack, clients, random, products, earlierRelease: EARLIER_RELEASE };
  const kinds = choose(faultKinds(world));
  if (!EARLIER_RELEASE)
    say('left out: earlier-release (TRIBUTARY_EARLIER_RELEASE names no build of an earlier release)');
  say(`seed ${SEED}`);
  const injector = new FaultInjector(kinds, world);
  await injector.expectHealthy();
  const startedAt = Date.now();
  const placing = clients.run(Number.POSITIVE_INFINITY, CLIENTS, REST_MS);
  try {
    while (injector.faults < FAULTS) {
      // The clients end by themselves only when something is wrong.
      const round = await Promise.race([injector.round(), placing]);
      if (!round) break;
      say(describeRound(round));
      if (round.healthyAfterMs === null) await injector.restartAll();
    }
  } finally {
    clients.stop();
  }
  const healthyAt = Date.now();
  await placing;
  await until(
    () => unsettled((stack as FaultStack).query),
    (left) => left === 0,
    SETTLE_MS,
  );
  const settledAt = Date.now();
  const outcomes = await query<{ status: string; count: number }>(
    'orders',
    'select orders_read.status, count(*)::int from orders_read join placement_sagas on order_id = id group by 1 order by 1',
  );
  const report = describeRun({
    seed: SEED,
    orders: clients.orders.length,
    clients: CLIENTS,
    rounds: injector.rounds,
    errors: clients.errors,
    outcomes,
    placingMs: healthyAt - startedAt,
    settlingMs: settledAt - healthyAt,
  });
  await expectOrdersInOrder(stack, clients.orders);
  say(report);
  expect(injector.rounds.filter(({ failures }) => failures.length > 0).map(describeRound)).toEqual([]);
  if (REPORT) writeFileSync(REPORT, report);
});

/** Some accounts stay poor, and some shelves run empty: rejections are part of it. */
async function fillUp(clients: OrderClients, customers: readonly string[], products: readonly string[]): Promise<void> {
  const deposit =
    'mutation ($id: ID!, $key: ID!) { deposit(userId: $id, amount: "500000.00", idempotencyKey: $key) { balance { amount } } }';
  const restock = 'mutation ($id: ID!, $key: ID!) { restock(id: $id, quantity: 10000, idempotencyKey: $key) { id } }';
  await Promise.all([
    ...customers.map((id) => clients.command(deposit, { id, key: `fill-${id}` })),
    ...products.map((id) => clients.command(restock, { id, key: `fill-${id}` })),
  ]);
}

function choose(kinds: readonly FaultKind[]): readonly FaultKind[] {
  const names = kinds.map(({ name }) => name);
  const unknown = KINDS?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`There is no fault "${unknown}" here; there are ${names.join(', ')}.`);
  return KINDS ? kinds.filter(({ name }) => KINDS.includes(name)) : kinds;
}

const say = (text: string) => process.stdout.write(`${text.replace(/^/gm, '  ')}\n`);

import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type FaultStack, startFaultStack } from '../harness/fault-stack.ts';
import { haveNats } from '../harness/nats.ts';
import { Random } from '../harness/random.ts';
import { until } from '../harness/until.ts';
import { FaultInjector } from './fault-injector.ts';
import { describeRun } from './fault-report.ts';
import { expectOrdersInOrder, unsettled } from './order-accounts.ts';
import { OrderClients } from './order-clients.ts';

// Orders under fire: every part of the stack is killed and paused while clients place, repeat and cancel orders.
// `npm run soak -- faults` is the long run.
const ORDERS = Number(process.env.FAULT_ORDERS ?? 200);
const CLIENTS = Number(process.env.FAULT_CLIENTS ?? 20);
const FAULTS = Number(process.env.FAULTS ?? 10);
const SEED = Number(process.env.FAULT_SEED ?? 14);
const REPORT = process.env.FAULT_REPORT;
const SETTLE_MS = 60_000;

let stack: FaultStack | undefined;
beforeAll(async () => {
  if (haveNats()) stack = await startFaultStack(0.02);
}, 120_000);
afterAll(() => stack?.stop(), 60_000);

test(`${ORDERS} orders by ${CLIENTS} clients under ${FAULTS} kills and pauses (seed ${SEED})`, {
  timeout: 240_000 + ORDERS * 500,
}, async ({ skip }) => {
  if (!stack) return skip('nats-server is not installed');
  const { query } = stack;
  const ids = async (service: 'users' | 'products', limit: number) =>
    (await query<{ id: string }>(service, `select id from ${service} order by id limit ${limit}`)).map(({ id }) => id);
  // Some accounts stay poor, and shelves run empty in a long run: rejections are part of it.
  const shop = { gateways: stack.gateways, customers: await ids('users', 40), products: await ids('products', 60) };
  await query(
    'users',
    `with paid as (
    insert into account_entries (user_id, amount, reason) select id, 20000, 'deposit' from unnest($1::text[]) as ids (id)
    returning user_id
  ) update accounts set balance = balance + 20000, version = version + 1 from paid where accounts.user_id = paid.user_id`,
    [shop.customers.slice(0, 30)],
  );

  process.stdout.write(`  seed ${SEED}\n`);
  const clients = new OrderClients(shop, SEED);
  const injector = new FaultInjector(stack.parts, new Random(SEED));
  const startedAt = Date.now();
  const placing = clients.run(ORDERS, CLIENTS);
  for (let n = 1; n <= FAULTS; n++) {
    const due = Math.floor((n * ORDERS) / (FAULTS + 1));
    await Promise.race([
      placing,
      until(
        async () => clients.done,
        (done) => done >= due,
        240_000,
      ),
    ]);
    await injector.strike();
  }
  await placing;
  const placedAt = Date.now();
  await injector.allBack();
  const backAt = Date.now();
  await until(
    () => unsettled((stack as FaultStack).query),
    (left) => left === 0,
    SETTLE_MS,
  );
  const settledAt = Date.now();
  await expectOrdersInOrder(stack, clients.orders);

  expect(injector.faults).toHaveLength(FAULTS);
  const outcomes = await query<{ status: string; count: number }>(
    'orders',
    'select orders_read.status, count(*)::int from orders_read join placement_sagas on order_id = id group by 1 order by 1',
  );
  const report = describeRun({
    seed: SEED,
    orders: ORDERS,
    clients: CLIENTS,
    faults: injector.faults,
    errors: clients.errors,
    outcomes,
    placingMs: placedAt - startedAt,
    settlingMs: settledAt - backAt,
  });
  process.stdout.write(`${report.replace(/^/gm, '  ')}\n`);
  if (REPORT) writeFileSync(REPORT, report);
});

import { ConsumerOperations } from '@tributary/events';
import type { OrdersAdmin } from '@tributary/orders';
import { expect } from 'vitest';
import type { ServiceName } from '../harness/databases.ts';
import type { FaultStack } from '../harness/fault-stack.ts';
import { ask } from '../harness/graphql-client.ts';
import { openOrdersAdmin } from '../harness/orders-admin.ts';
import { runProgram } from '../harness/process.ts';
import type { ClientOrder } from './order-clients.ts';

/** What is asked of a stack to look into it. */
type Stack = Pick<FaultStack, 'query' | 'gateways' | 'urls' | 'databaseUrls' | 'internalSecret'>;

const READ_MODELS = ['orders_read', 'order_items_read', 'order_counts', 'user_order_stats', 'product_sales'];
const PAGE = 100;

interface OrderFacts {
  readonly id: string;
  readonly status: string;
  readonly total: string;
}

/** Checks in the databases and through the gateway that every unit and every cent is where the orders say. */
export async function expectOrdersInOrder(stack: Stack, clientOrders: readonly ClientOrder[]): Promise<void> {
  await expectWhatClientsSaw(stack, clientOrders);
  const orders = await stack.query<OrderFacts>(
    'orders',
    'select id, orders_read.status, total from orders_read join placement_sagas on order_id = id',
  );
  expect(orders.map(({ id }) => id).sort()).toEqual(clientOrders.map(({ id }) => id).sort());
  expect(orders.filter(({ status }) => status === 'PENDING')).toEqual([]);
  await expectMoney(stack, orders);
  await expectStock(stack);
  await expectWholeLedgers(stack);
  await expectCopies(stack);
  await expectRebuiltEqual(stack);
  await expectVerified(stack);
}

/** Placements that are not over, and events that some service has not applied yet. */
export async function unsettled(
  query: (service: ServiceName, sql: string, values?: unknown[]) => Promise<Record<string, unknown>[]>,
): Promise<number> {
  const [sagas] = await query('orders', 'select count(*)::int as count from placement_sagas where finished_at is null');
  let behind = 0;
  for (const [consumer, source] of [
    ['users', 'orders'],
    ['products', 'orders'],
    ['orders', 'users'],
    ['orders', 'products'],
  ] as const) {
    const [applied] = await query(consumer, 'select position from consumer_positions where source = $1', [source]);
    const [log] = await query(source, 'select count(*) as count from outbox');
    behind += Number(log?.count) - Number(applied?.position);
  }
  return Number(sagas?.count) + behind;
}

async function expectWhatClientsSaw(stack: Stack, clientOrders: readonly ClientOrder[]): Promise<void> {
  const found = new Map<string, string>();
  for (let start = 0; start < clientOrders.length; start += PAGE) {
    const page = clientOrders.slice(start, start + PAGE);
    const fields = page.map(({ id }, i) => `o${i}: order(id: ${JSON.stringify(id)}) { id status }`);
    const { data } = await ask(stack.gateways[0] as string, `{ ${fields.join(' ')} }`);
    for (const order of Object.values<{ id: string; status: string } | null>(data)) {
      if (order) found.set(order.id, order.status);
    }
  }
  const changed = clientOrders.filter(({ id, seen, cancelled }) => {
    const now = found.get(id as string);
    return seen !== null && now !== seen && !(cancelled && seen === 'CONFIRMED' && now === 'CANCELLED');
  });
  expect(changed).toEqual([]);
}

async function expectMoney(stack: Stack, orders: readonly OrderFacts[]): Promise<void> {
  expect(
    await stack.query(
      'users',
      `select user_id, balance, sum(amount) as entries from accounts join account_entries using (user_id)
       group by user_id, balance having balance <> sum(amount) or balance < 0`,
    ),
  ).toEqual([]);
  const entries = await stack.query<{ order_id: string; charges: string; refunds: string; count: number }>(
    'users',
    `select order_id, coalesce(sum(-amount) filter (where reason = 'charge'), 0)::numeric(18, 2) as charges,
       coalesce(sum(amount) filter (where reason = 'refund'), 0)::numeric(18, 2) as refunds,
       count(*) filter (where reason = 'charge')::int as count
     from account_entries where order_id is not null group by order_id`,
  );
  const byOrder = new Map(entries.map((entry) => [entry.order_id, entry]));
  const wrong = orders.filter(({ id, status, total }) => {
    const { charges, refunds, count } = byOrder.get(id) ?? { charges: '0.00', refunds: '0.00', count: 0 };
    return status === 'CONFIRMED' ? count !== 1 || charges !== total || refunds !== '0.00' : charges !== refunds;
  });
  expect(wrong).toEqual([]);
  expect(entries.map(({ order_id: id }) => id).filter((id) => !orders.some((order) => order.id === id))).toEqual([]);
}

async function expectStock(stack: Stack): Promise<void> {
  expect(
    await stack.query(
      'products',
      `select stock.*, received from stock join (
         select product_id, sum(quantity) as received from stock_receipts group by product_id
       ) as receipts using (product_id)
       where reserved <> 0 or on_hand < 0 or on_hand <> received - sold`,
    ),
  ).toEqual([]);
  const sold = await stack.query<{ id: string; sold: string; units_sold: string }>(
    'products',
    'select product_id as id, sold, units_sold from stock join products on products.id = product_id where sold <> 0 order by id',
  );
  const ordered = await stack.query<{ id: string; sold: number }>(
    'orders',
    `select product_id as id, sum(quantity)::int as sold
     from order_items_read join orders_read on orders_read.id = order_id join placement_sagas using (order_id)
     where orders_read.status = 'CONFIRMED' group by product_id order by product_id`,
  );
  // A bigint arrives as a text.
  expect(sold.map(({ id, sold }) => ({ id, sold: Number(sold) }))).toEqual(ordered);
  const sales = await stack.query<{ id: string; units: string }>(
    'orders',
    'select product_id as id, units_sold as units from product_sales where units_sold <> 0 order by id',
  );
  const copied = await stack.query<{ id: string; units: string }>(
    'products',
    'select id, units_sold as units from products where units_sold <> 0 order by id',
  );
  expect(copied).toEqual(sales);
}

async function expectWholeLedgers(stack: Stack): Promise<void> {
  for (const service of ['users', 'products', 'orders'] as const) {
    const [log] = await stack.query<{ count: number; first: number; last: number }>(
      service,
      'select count(*)::int as count, min(position)::int as first, max(position)::int as last from outbox',
    );
    expect(log).toEqual({ count: log?.last, first: 1, last: log?.last });
  }
}

async function expectCopies(stack: Stack): Promise<void> {
  const { databaseUrls } = stack;
  const orders = ordersOperations(stack);
  const others = (['users', 'products'] as const).map(
    (consumer) => new ConsumerOperations({ consumer, databaseUrl: databaseUrls[consumer], subscriptions: [] }),
  );
  expect((await orders.verify(false)).map(({ differences }) => differences)).toEqual([[], []]);
  for (const operations of [orders, ...others]) {
    expect(await operations.deadLetters()).toEqual([]);
    await operations.close();
  }
}

async function expectRebuiltEqual(stack: Stack): Promise<void> {
  const readModels = () =>
    Promise.all(
      READ_MODELS.map((table) =>
        stack.query('orders', `select count(*), md5(string_agg(t::text, '|' order by t::text)) from ${table} t`),
      ),
    );
  const live = await readModels();
  const operations = ordersOperations(stack);
  await operations.rebuild('orders');
  await operations.close();
  expect(await readModels()).toEqual(live);
}

/** Verifies copies, money and stock with the operator's command. */
async function expectVerified({ databaseUrls, urls, internalSecret }: Stack): Promise<void> {
  const verify = runProgram('cli/bin/tributary.mjs', ['verify'], {
    USERS_URL: urls.users,
    PRODUCTS_URL: urls.products,
    ORDERS_URL: urls.orders,
    USERS_DATABASE_URL: databaseUrls.users,
    PRODUCTS_DATABASE_URL: databaseUrls.products,
    ORDERS_DATABASE_URL: databaseUrls.orders,
    ...(internalSecret && { INTERNAL_SECRET: internalSecret }),
  });
  const status = await verify.ended;
  expect({ status, output: status === 0 ? '' : verify.output() }).toEqual({ status: 0, output: '' });
}

function ordersOperations({ databaseUrls, urls, internalSecret }: Stack): OrdersAdmin {
  return openOrdersAdmin(databaseUrls.orders, {
    USERS_URL: urls.users,
    PRODUCTS_URL: urls.products,
    INTERNAL_SECRET: internalSecret,
  });
}

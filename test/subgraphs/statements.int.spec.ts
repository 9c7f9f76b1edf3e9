import type { CompiledQuery } from 'kysely';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../harness/graph.ts';

type ServiceName = 'users' | 'products' | 'orders';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

/** Runs a query that must succeed. @returns the SQL statements that each service ran for it */
async function statementsOf(query: string): Promise<Record<ServiceName, CompiledQuery[]>> {
  for (const list of Object.values(graph.statements)) list.length = 0;
  const answer = await graph.ask(query);
  expect(answer.errors).toBeUndefined();
  return structuredClone({
    users: graph.statements.users.map(plain),
    products: graph.statements.products.map(plain),
    orders: graph.statements.orders.map(plain),
  }) as unknown as Record<ServiceName, CompiledQuery[]>;
}

const plain = ({ sql, parameters }: CompiledQuery) => ({ sql, parameters });

/** The tables that statements read first, in alphabetical order. */
function tablesOf(statements: readonly CompiledQuery[]): (string | undefined)[] {
  return statements.map(({ sql }) => /\bfrom "?(?!unnest)(\w+)/.exec(sql)?.[1]).sort();
}

const ORDER_PAGE = `{
  orders(first: 50) {
    totalCount
    nodes {
      number
      total { amount }
      customer { name segment addresses { city } account { balance { amount } } orderStats { totalSpent { amount } } }
      items { quantity product { name price { amount } stock { available } sales { unitsSold } } }
      history { type }
    }
  }
}`;

test('a page of 50 orders with customers, items and products costs one statement per table', async () => {
  const statements = await statementsOf(ORDER_PAGE);

  expect(tablesOf(statements.users)).toEqual(['accounts', 'addresses', 'users']);
  expect(tablesOf(statements.products)).toEqual(['products', 'stock']);
  expect(tablesOf(statements.orders)).toEqual([
    'order_counts',
    'order_events',
    'order_items_read',
    'orders_read',
    'product_sales',
    'products_copy',
    'user_order_stats',
    'users_copy',
  ]);
});

test('pages inside a page cost one statement too', async () => {
  const statements = await statementsOf(`{
    users(first: 50) {
      nodes {
        name
        orders(first: 3, status: CONFIRMED) { totalCount nodes { number items { product { name } } } }
        account { entries(first: 2) { totalCount nodes { amount { amount } } } }
      }
    }
  }`);

  expect(tablesOf(statements.users)).toEqual(['account_entries', 'account_entries', 'users']);
  expect(tablesOf(statements.orders)).toEqual(['order_counts', 'order_items_read', 'orders_read', 'products_copy']);
  expect(statements.products).toEqual([]);
});

test('names in orders come from their copies, without a request to users or products', async () => {
  const statements = await statementsOf(
    '{ orders(first: 10) { nodes { customer { name email } items { product { name sku } } } } }',
  );
  expect(statements.users).toEqual([]);
  expect(statements.products).toEqual([]);
});

test('a total is counted only when it is selected, and without reading the rows', async () => {
  expect(tablesOf((await statementsOf('{ orders { nodes { id } } }')).orders)).toEqual(['orders_read']);
  const totals = await statementsOf(`{
    orders(first: 0) { totalCount }
    users(first: 0) { totalCount }
    products(first: 0, filter: { category: "Furniture" }) { totalCount }
  }`);
  expect(tablesOf(totals.orders)).toContain('order_counts');
  expect(tablesOf(totals.users)).toContain('row_counts');
  expect(tablesOf(totals.products)).toContain('category_counts');
});

describe('every statement of these queries finds its rows by an index', () => {
  const after = (position: unknown[]) => Buffer.from(JSON.stringify(position)).toString('base64url');

  test.each([
    ['a page of orders', ORDER_PAGE],
    [
      'a page far into the orders',
      `{ orders(after: "${after(['orders:newest', '2015-01-01T00:00:00.000Z', 'x'])}") { nodes { id } } }`,
    ],
    ['orders of a status', '{ orders(filter: { status: CONFIRMED }) { nodes { id } } }'],
    ['orders of a customer', '{ orders(filter: { customerId: "CG-12520" }) { nodes { id } totalCount } }'],
    [
      'orders of a month, counted',
      '{ orders(filter: { placedAfter: "2016-11-01T00:00:00Z", placedBefore: "2016-12-01T00:00:00Z" }) { nodes { id } totalCount } }',
    ],
    ['an order by its number', '{ order(number: "CA-2016-152156") { id history { at } items { quantity } } }'],
    ['an order as it stood', '{ order(id: "CA-2016-152156", asOf: "2016-11-09T00:00:00Z") { status } }'],
    ['users by name', `{ users(after: "${after(['users:name', 'M', 'x'])}") { nodes { id } } }`],
    [
      'users with their orders',
      '{ users(first: 50) { nodes { orders(first: 3) { nodes { id } } orderStats { lastOrderAt } } } }',
    ],
    ['users with their entries', '{ users(first: 50) { nodes { account { entries(first: 2) { nodes { id } } } } } }'],
    ['users searched', '{ users(search: "claire gu") { nodes { id } } }'],
    [
      'products by name',
      `{ products(after: "${after(['products:NAME', 'M', 'x'])}") { nodes { id stock { onHand } } } }`,
    ],
    [
      'products by price',
      `{ products(sort: PRICE_DESC, after: "${after(['products:PRICE_DESC', 100, 'x'])}") { nodes { id } } }`,
    ],
    ['products by age', '{ products(sort: NEWEST) { nodes { id } } }'],
    ['products by sales', '{ products(sort: BEST_SELLING) { nodes { id } } }'],
    [
      'products of a category',
      '{ products(filter: { category: "Furniture", subCategory: "Tables" }) { nodes { id } } }',
    ],
    ['products searched', '{ products(filter: { text: "bookcase" }, sort: BEST_SELLING) { nodes { id } totalCount } }'],
    ['a product by its SKU', '{ product(sku: "FUR-BO-10001798") { id } }'],
  ])('%s', async (_what, query) => {
    const statements = await statementsOf(query);
    for (const service of ['users', 'products', 'orders'] as const) {
      const { explain, end } = await explainer(graph.databases.urls[service]);
      try {
        for (const { sql, parameters } of statements[service]) {
          // The planner reads a table of a few pages whole, and is right to; with that forbidden it must find an index.
          const chosen = scannedWhole(await explain(sql, parameters, true));
          const forced = scannedWhole(await explain(sql, parameters, false));
          const scanned = { chosen: chosen.filter((table) => BIG_TABLES.includes(table)), forced };
          expect(scanned, sql).toEqual({ chosen: [], forced: [] });
        }
      } finally {
        await end();
      }
    }
  });
});

async function explainer(url: string) {
  const client = new pg.Client(url);
  await client.connect();
  return {
    async explain(sql: string, parameters: readonly unknown[], mayScan: boolean): Promise<PlanNode> {
      await client.query(`set enable_seqscan = ${mayScan ? 'on' : 'off'}`);
      const { rows } = await client.query(`explain (format json) ${sql}`, [...parameters]);
      return rows[0]['QUERY PLAN'][0].Plan;
    },
    end: () => client.end(),
  };
}

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly Plans?: readonly PlanNode[];
}

/** Tables that grow with the orders. */
const BIG_TABLES = ['orders_read', 'order_items_read', 'order_events'];

/** Tables with one row per kind of thing, which need no index. */
const SMALL_TABLES = ['category_counts', 'row_counts'];

function scannedWhole(node: PlanNode): string[] {
  const table = node['Relation Name'] ?? '';
  const here = node['Node Type'] === 'Seq Scan' && !SMALL_TABLES.includes(table) ? [table] : [];
  return [...here, ...(node.Plans ?? []).flatMap(scannedWhole)];
}

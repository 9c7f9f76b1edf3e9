import pg from 'pg';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';
import { codesOf } from '../../../test/harness/graphql-client.ts';
import { until } from '../../../test/harness/until.ts';

let graph: TestGraph;
beforeAll(async () => {
  // What is cached is served while a service is down; here it is about what is not.
  graph = await startGraph({ gatewayEnv: { CACHE: 'off' } });
});
afterAll(() => graph?.stop());

// In this order: products goes down in the middle and stays down.

test('a request in flight is answered before a service closes', async () => {
  const query = (first: number) =>
    `{ products(first: ${first}, sort: BEST_SELLING) { nodes { name stock { available } } } }`;
  // Planned before, the request reaches products before the next one does.
  await graph.ask(query(99));
  const asked = graph.ask(query(100));
  await graph.ask('{ categories { name } }');
  const [answer] = await Promise.all([asked, graph.services.products.close()]);
  expect(answer.errors).toBeUndefined();
  expect(answer.data.products.nodes).toHaveLength(100);
});

test('with products down, orders are answered whole from their copy', async () => {
  const answer = await graph.ask(
    '{ order(number: "CA-2016-152156") { total { amount } items { quantity product { name sku sales { unitsSold } } } } }',
  );
  expect(answer.errors).toBeUndefined();
  expect(answer.data.order.total.amount).toBe('993.90');
  expect(answer.data.order.items.map((item: { product: object }) => item.product)).toEqual([
    { name: 'Bush Somerset Collection Bookcase', sku: 'FUR-BO-10001798', sales: { unitsSold: 12 } },
    {
      name: 'Hon Deluxe Fabric Upholstered Stacking Chairs, Rounded Back',
      sku: 'FUR-CH-10000454',
      sales: { unitsSold: 51 },
    },
  ]);
});

test('a field that only products has is null with SUBGRAPH_UNAVAILABLE, and the rest of the response is complete', async () => {
  const answer = await graph.ask(`{
    order(number: "CA-2016-152156") { customer { name segment } items { product { name } } }
    product(id: "FUR-BO-10001798") { name price { amount } }
  }`);
  expect(answer.data.product).toBeNull();
  expect(answer.data.order.customer).toEqual({ name: 'Claire Gute', segment: 'Consumer' });
  expect(codesOf(answer)).toEqual(['SUBGRAPH_UNAVAILABLE']);
  expect(answer.errors?.[0]).toMatchObject({
    message: expect.stringContaining('"products"'),
    extensions: { subgraph: 'products' },
  });
});

test('a non-null field that only products has makes its order null, with the path of the field', async () => {
  const answer = await graph.ask(
    '{ order(number: "CA-2016-152156") { items { product { name stock { available } } } } user(id: "CG-12520") { name } }',
  );
  expect(answer.data).toEqual({ order: null, user: { name: 'Claire Gute' } });
  expect(answer.errors?.[0]).toMatchObject({
    path: ['order', 'items', 0, 'product', 'stock'],
    extensions: {
      code: 'SUBGRAPH_UNAVAILABLE',
      paths: [0, 1].map((i) => ['order', 'items', i, 'product', 'stock']),
      pathCount: 2,
    },
  });
});

test('health and metrics show the outage', async () => {
  const ready = await fetch(`${graph.urls.users}/health/ready`);
  expect(await ready.json()).toMatchObject({ status: 'ready', service: 'users', database: 'up' });
  const { status, body } = await until(
    async () => {
      const response = await fetch(`${graph.urls.gateway}/health/ready`);
      return { status: response.status, body: (await response.json()) as { status: string; degraded?: object } };
    },
    ({ body: said }) => said.status === 'degraded' && Object.keys(said.degraded ?? {}).length === 2,
  );
  expect(status).toBe(200);
  expect(body.degraded).toEqual({
    'subgraph products': expect.stringMatching(/^Subgraph "products" cannot be reached/),
    supergraph: expect.stringMatching(
      /^composed at 20.*; products does not answer: Subgraph "products" cannot be reached/,
    ),
  });
  const metrics = await (await fetch(`${graph.urls.gateway}/metrics`)).text();
  expect(metrics).toMatch(
    /gateway_subgraph_fetch_duration_seconds_count\{(?=.*subgraph="products")(?=.*outcome="SUBGRAPH_UNAVAILABLE").*\} [1-9]/,
  );
  expect(await (await fetch(`${graph.urls.orders}/metrics`)).text()).toMatch(
    /sql_statements_total\{service="orders"\} [1-9]/,
  );
});

test('with the database of users down, its fields are SUBGRAPH_UNAVAILABLE until the database is back', async () => {
  const [{ name }] = (await graph.databases.query('users', 'select current_database() as name')) as [{ name: string }];
  const client = new pg.Client(graph.databases.urls.users);
  await client.connect();
  await client.query(`alter database ${name} connection limit 0`);
  await client.query(
    'select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
  );
  const answer = await graph.ask('{ user(id: "CG-12520") { name } order(number: "CA-2016-152156") { status } }');
  expect(answer.data).toEqual({ user: null, order: { status: 'CONFIRMED' } });
  expect(codesOf(answer)).toEqual(['SUBGRAPH_UNAVAILABLE']);
  await client.query(`alter database ${name} connection limit -1`);
  await client.end();
  expect((await graph.ask('{ user(id: "CG-12520") { name } }')).data.user.name).toBe('Claire Gute');
});

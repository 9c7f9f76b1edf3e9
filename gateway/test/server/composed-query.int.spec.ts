import { afterAll, beforeAll, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

test('one query is answered from the databases of all three services', async () => {
  const answer = await graph.ask(`{
    order(number: "CA-2016-152156") {
      status
      total { amount currency }
      placedAt
      customer { name email orderStats { orderCount totalSpent { amount } } }
      items { quantity lineTotal { amount } product { name sku stock { available } sales { unitsSold } } }
      history { type at }
    }
  }`);

  expect(answer.errors).toBeUndefined();
  expect(answer.data.order).toEqual({
    status: 'CONFIRMED',
    total: { amount: '993.90', currency: 'USD' },
    placedAt: '2016-11-08T00:00:00.000Z',
    customer: {
      name: 'Claire Gute',
      email: 'claire.gute@example.com',
      orderStats: { orderCount: 3, totalSpent: { amount: '1148.78' } },
    },
    items: [
      {
        quantity: 2,
        lineTotal: { amount: '261.96' },
        product: {
          name: 'Bush Somerset Collection Bookcase',
          sku: 'FUR-BO-10001798',
          stock: { available: 100 },
          sales: { unitsSold: 12 },
        },
      },
      {
        quantity: 3,
        lineTotal: { amount: '731.94' },
        product: {
          name: 'Hon Deluxe Fabric Upholstered Stacking Chairs, Rounded Back',
          sku: 'FUR-CH-10000454',
          stock: { available: 100 },
          sales: { unitsSold: 51 },
        },
      },
    ],
    history: [
      { type: 'OrderPlaced', at: '2016-11-08T00:00:00.000Z' },
      { type: 'OrderConfirmed', at: '2016-11-11T12:00:00.000Z' },
    ],
  });
});

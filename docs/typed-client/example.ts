import { Graph } from './client.ts';
import { OrderPageDocument, PlaceOrderDocument } from './generated/graphql.ts';

const graph = new Graph(process.env.GRAPH_URL ?? 'http://localhost:4000/graphql');

try {
  const { placeOrder } = await graph.send(PlaceOrderDocument, {
    input: { customerId: 'CG-12520', items: [{ productId: 'FUR-BO-10001798', quantity: 1 }] },
    key: crypto.randomUUID(),
  });
  console.log(`Order ${placeOrder.number} is ${placeOrder.status}.`);

  const { order } = await graph.send(OrderPageDocument, { number: placeOrder.number });
  for (const { quantity, product } of order?.items ?? []) {
    console.log(`${quantity} × ${product.name}, ${product.stock.available} left`);
  }
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}

import { duration, serviceUrl } from '@tributary/server';
import { defineSubgraph, type SubgraphConfig } from '@tributary/subgraph';

const settings = {
  ORDERS_URL: serviceUrl(4003).describe('Base URL of the orders service, whose event log carries stock commands.'),
  RESERVATION_TTL: duration('15m', { min: '1ms', max: '3650d' }).describe(
    'Time after which stock that an order reserved, but neither took nor released, is available again.',
  ),
};

export type ProductsConfig = SubgraphConfig<typeof settings>;

/** The catalogue, and its stock. */
export const definition = defineSubgraph({
  name: 'products',
  port: 4002,
  settings,
  consumers: 'orders',
  load: () => import('./service.js'),
});

import { duration, serviceUrl } from '@tributary/server';
import { defineSubgraph, type SubgraphConfig } from '@tributary/subgraph';

const settings = {
  USERS_URL: serviceUrl(4001).describe(
    'Base URL of the users service, whose event log feeds the copy of users and carries replies to sagas.',
  ),
  PRODUCTS_URL: serviceUrl(4002).describe(
    'Base URL of the products service, whose event log feeds the copy of products and carries replies to sagas.',
  ),
  SAGA_STEP_TIMEOUT: duration('3s', { min: '1ms', max: '1d' }).describe(
    'Time that a saga waits for the first reply to a command; it doubles with each attempt.',
  ),
  SAGA_STUCK_AFTER: duration('1m', { min: '1ms', max: '3650d' }).describe(
    'Age from which a saga that has not ended counts as stuck.',
  ),
};

export type OrdersConfig = SubgraphConfig<typeof settings>;

/** Orders: event-sourced, placed by sagas, shown with copies of user and product data. */
export const definition = defineSubgraph({
  name: 'orders',
  port: 4003,
  settings,
  consumers: 'users,products',
  load: () => import('./service.js'),
  commands: {
    rebuild: {
      description: 'rebuild the read models from the events',
      async run(databaseUrl) {
        const { rebuildReadModels } = await import('./service.js');
        return `Replayed ${await rebuildReadModels(databaseUrl)} events.`;
      },
    },
  },
});

export type { AuditFinding } from './audit.js';
export type { OrdersAdmin } from './orders-admin.js';

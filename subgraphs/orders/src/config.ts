import { eventLogConsumers, eventSettings } from '@tributary/events';
import { databaseUrl, duration, port, readEnvironment, serveSettings, serviceUrl } from '@tributary/server';

/** What the orders service reads from its environment. */
export const settings = {
  ORDERS_PORT: port(4003).describe('Port to listen on; 0 picks a free one.'),
  ORDERS_DATABASE_URL: databaseUrl.describe('Database of the service: `postgres://role:password@host:port/database`.'),
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
  ...eventSettings,
  EVENT_LOG_CONSUMERS: eventLogConsumers('users,products'),
  ...serveSettings,
};

export const readConfig = (env?: NodeJS.ProcessEnv) => readEnvironment(settings, env);

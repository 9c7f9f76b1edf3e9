import { eventLogConsumers, eventSettings } from '@tributary/events';
import { databaseUrl, duration, port, readEnvironment, serveSettings, serviceUrl } from '@tributary/server';

/** What the products service reads from its environment. */
export const settings = {
  PRODUCTS_PORT: port(4002).describe('Port to listen on; 0 picks a free one.'),
  PRODUCTS_DATABASE_URL: databaseUrl.describe(
    'Database of the service: `postgres://role:password@host:port/database`.',
  ),
  ORDERS_URL: serviceUrl(4003).describe('Base URL of the orders service, whose event log carries stock commands.'),
  RESERVATION_TTL: duration('15m', { min: '1ms', max: '3650d' }).describe(
    'Time after which stock that an order reserved, but neither took nor released, is available again.',
  ),
  ...eventSettings,
  EVENT_LOG_CONSUMERS: eventLogConsumers('orders'),
  ...serveSettings,
};

export const readConfig = (env?: NodeJS.ProcessEnv) => readEnvironment(settings, env);

import { databaseUrl, duration, port, readEnvironment, serviceUrl } from '@tributary/shared/config/environment';
import { eventSettings, ledgerConsumers } from '@tributary/shared/events/event-settings';
import { serveSettings } from '@tributary/shared/service/run-service';

/** What the products service reads from its environment. */
export const settings = {
  PRODUCTS_PORT: port(4002).describe('0 picks a free one'),
  PRODUCTS_DATABASE_URL: databaseUrl.describe('`postgres://role:password@host:port/database`'),
  ORDERS_URL: serviceUrl(4003).describe('whose ledger brings what orders ask of the stock'),
  RESERVATION_TTL: duration('15m').describe('how long an order holds stock that it neither takes nor gives back'),
  ...eventSettings,
  LEDGER_CONSUMERS: ledgerConsumers('orders'),
  ...serveSettings,
};

export const readConfig = (env?: NodeJS.ProcessEnv) => readEnvironment(settings, env);

import { databaseUrl, duration, port, readEnvironment, serviceUrl } from '@tributary/shared/config/environment';
import { eventSettings, ledgerConsumers } from '@tributary/shared/events/event-settings';
import { serveSettings } from '@tributary/shared/service/run-service';

/** What the orders service reads from its environment. */
export const settings = {
  ORDERS_PORT: port(4003).describe('0 picks a free one'),
  ORDERS_DATABASE_URL: databaseUrl.describe('`postgres://role:password@host:port/database`'),
  USERS_URL: serviceUrl(4001).describe('whose ledger feeds the copies of users and brings the answers to sagas'),
  PRODUCTS_URL: serviceUrl(4002).describe('likewise, of products'),
  SAGA_STEP_TIMEOUT: duration('3s').describe(
    'how long a saga waits for the first answer to a command; it doubles with each attempt',
  ),
  SAGA_STUCK_AFTER: duration('1m').describe('after which a saga that is not over counts as stuck'),
  ...eventSettings,
  LEDGER_CONSUMERS: ledgerConsumers('users,products'),
  ...serveSettings,
};

export const readConfig = (env?: NodeJS.ProcessEnv) => readEnvironment(settings, env);

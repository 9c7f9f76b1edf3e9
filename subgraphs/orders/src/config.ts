import { databaseUrl, host, logLevel, port, readEnvironment } from '@tributary/shared/config/environment';
import { eventSettings } from '@tributary/shared/events/event-settings';
import { z } from 'zod';

/** Where a service answers, whose ledger feeds a copy here. */
const serviceUrl = (port: number) => z.url('wants a URL').default(`http://localhost:${port}`);

/** Reads the orders service's configuration from the environment. */
export function readConfig(env?: NodeJS.ProcessEnv) {
  return readEnvironment(
    {
      HOST: host,
      ORDERS_PORT: port(4003),
      ORDERS_DATABASE_URL: databaseUrl,
      LOG_LEVEL: logLevel,
      USERS_URL: serviceUrl(4001),
      PRODUCTS_URL: serviceUrl(4002),
      ...eventSettings,
    },
    env,
  );
}

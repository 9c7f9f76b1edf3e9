import { databaseUrl, host, logLevel, port, readEnvironment } from '@tributary/shared/config/environment';
import { eventSettings } from '@tributary/shared/events/event-settings';

/** Reads the products service's configuration from the environment. */
export function readConfig(env?: NodeJS.ProcessEnv) {
  return readEnvironment(
    {
      HOST: host,
      PRODUCTS_PORT: port(4002),
      PRODUCTS_DATABASE_URL: databaseUrl,
      LOG_LEVEL: logLevel,
      ...eventSettings,
    },
    env,
  );
}

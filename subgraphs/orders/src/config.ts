import { databaseUrl, duration, port, readEnvironment, serviceUrl } from '@tributary/shared/config/environment';
import { eventSettings } from '@tributary/shared/events/event-settings';
import { serveSettings } from '@tributary/shared/service/run-service';

/** Reads the orders service's configuration from the environment. */
export function readConfig(env?: NodeJS.ProcessEnv) {
  return readEnvironment(
    {
      ...serveSettings,
      ORDERS_PORT: port(4003),
      ORDERS_DATABASE_URL: databaseUrl,
      USERS_URL: serviceUrl(4001),
      PRODUCTS_URL: serviceUrl(4002),
      /** For how long a placement waits for the first answer to a command; it doubles with each attempt. */
      SAGA_STEP_TIMEOUT: duration('3s'),
      /** A placement that is not over after this is stuck: operators want to know. */
      SAGA_STUCK_AFTER: duration('1m'),
      ...eventSettings,
    },
    env,
  );
}

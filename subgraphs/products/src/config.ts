import { databaseUrl, duration, port, readEnvironment, serviceUrl } from '@tributary/shared/config/environment';
import { eventSettings } from '@tributary/shared/events/event-settings';
import { serveSettings } from '@tributary/shared/service/run-service';

/** Reads the products service's configuration from the environment. */
export function readConfig(env?: NodeJS.ProcessEnv) {
  return readEnvironment(
    {
      ...serveSettings,
      PRODUCTS_PORT: port(4002),
      PRODUCTS_DATABASE_URL: databaseUrl,
      ORDERS_URL: serviceUrl(4003),
      /** For how long an order holds stock that it neither takes nor gives back. */
      RESERVATION_TTL: duration('15m'),
      ...eventSettings,
    },
    env,
  );
}

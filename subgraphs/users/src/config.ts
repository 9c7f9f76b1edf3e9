import { databaseUrl, port, readEnvironment, serviceUrl } from '@tributary/shared/config/environment';
import { eventSettings } from '@tributary/shared/events/event-settings';
import { serveSettings } from '@tributary/shared/service/run-service';
import { z } from 'zod';

/** Reads the users service's configuration from the environment. */
export function readConfig(env?: NodeJS.ProcessEnv) {
  return readEnvironment(
    {
      ...serveSettings,
      USERS_PORT: port(4001),
      USERS_DATABASE_URL: databaseUrl,
      AUTH_SECRET: z.string().min(32, 'wants at least 32 characters').optional(),
      AUTH_JWKS_URL: z.url('wants a URL').optional(),
      ORDERS_URL: serviceUrl(4003),
      ...eventSettings,
    },
    env,
  );
}

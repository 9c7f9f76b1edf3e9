import { databaseUrl, host, logLevel, port, readEnvironment, serviceUrl } from '@tributary/shared/config/environment';
import { eventSettings } from '@tributary/shared/events/event-settings';
import { z } from 'zod';

/** Reads the users service's configuration from the environment. */
export function readConfig(env?: NodeJS.ProcessEnv) {
  return readEnvironment(
    {
      HOST: host,
      USERS_PORT: port(4001),
      USERS_DATABASE_URL: databaseUrl,
      AUTH_SECRET: z.string().min(32, 'wants at least 32 characters').optional(),
      AUTH_JWKS_URL: z.url('wants a URL').optional(),
      LOG_LEVEL: logLevel,
      ORDERS_URL: serviceUrl(4003),
      ...eventSettings,
    },
    env,
  );
}

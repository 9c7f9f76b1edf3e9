import { databaseUrl, host, logLevel, port, readEnvironment } from '@tributary/shared/config/environment';

/** Reads the orders service's configuration from the environment. */
export function readConfig(env?: NodeJS.ProcessEnv) {
  return readEnvironment(
    { HOST: host, ORDERS_PORT: port(4003), ORDERS_DATABASE_URL: databaseUrl, LOG_LEVEL: logLevel },
    env,
  );
}

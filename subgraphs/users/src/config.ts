import { eventLogConsumers, eventSettings } from '@tributary/events';
import { databaseUrl, port, readEnvironment, secret, serveSettings, serviceUrl, urlSetting } from '@tributary/server';

/** What the users service reads from its environment. */
export const settings = {
  USERS_PORT: port(4001).describe('Port to listen on; 0 picks a free one.'),
  USERS_DATABASE_URL: databaseUrl.describe('Database of the service: `postgres://role:password@host:port/database`.'),
  AUTH_SECRET: secret(32).describe('Secret that verifies HS256 bearer tokens for `me`, at least 32 characters.'),
  AUTH_JWKS_URL: urlSetting(['http', 'https'], 'https://auth.example/.well-known/jwks.json')
    .optional()
    .describe("URL of the identity provider's public keys, in place of `AUTH_SECRET`."),
  ORDERS_URL: serviceUrl(4003).describe('Base URL of the orders service, whose event log carries payment commands.'),
  ...eventSettings,
  EVENT_LOG_CONSUMERS: eventLogConsumers('orders'),
  ...serveSettings,
};

export const readConfig = (env?: NodeJS.ProcessEnv) => readEnvironment(settings, env);

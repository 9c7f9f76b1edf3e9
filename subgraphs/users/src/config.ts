import { databaseUrl, port, readEnvironment, serviceUrl } from '@tributary/shared/config/environment';
import { eventSettings, ledgerConsumers } from '@tributary/shared/events/event-settings';
import { serveSettings } from '@tributary/shared/service/run-service';
import { z } from 'zod';

/** What the users service reads from its environment. */
export const settings = {
  USERS_PORT: port(4001).describe('0 picks a free one'),
  USERS_DATABASE_URL: databaseUrl.describe('`postgres://role:password@host:port/database`'),
  AUTH_SECRET: z
    .string()
    .min(32, 'wants at least 32 characters')
    .optional()
    .describe('at least 32 characters; verifies HS256 bearer tokens, for `me`'),
  AUTH_JWKS_URL: z
    .url('wants a URL')
    .optional()
    .describe("the identity provider's public keys, in place of `AUTH_SECRET`"),
  ORDERS_URL: serviceUrl(4003).describe('whose ledger brings what orders ask of accounts'),
  ...eventSettings,
  LEDGER_CONSUMERS: ledgerConsumers('orders'),
  ...serveSettings,
};

export const readConfig = (env?: NodeJS.ProcessEnv) => readEnvironment(settings, env);

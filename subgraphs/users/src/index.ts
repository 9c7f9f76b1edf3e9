import { secret, serviceUrl, urlSetting } from '@tributary/server';
import { defineSubgraph, type SubgraphConfig } from '@tributary/subgraph';

const settings = {
  AUTH_SECRET: secret(32).describe('Secret that verifies HS256 bearer tokens for `me`, at least 32 characters.'),
  AUTH_JWKS_URL: urlSetting(['http', 'https'], 'https://auth.example/.well-known/jwks.json')
    .optional()
    .describe("URL of the identity provider's public keys, in place of `AUTH_SECRET`."),
  ORDERS_URL: serviceUrl(4003).describe('Base URL of the orders service, whose event log carries payment commands.'),
};

export type UsersConfig = SubgraphConfig<typeof settings>;

/** Accounts of people: profiles, addresses, balances. */
export const definition = defineSubgraph({
  name: 'users',
  port: 4001,
  settings,
  consumers: 'orders',
  load: () => import('./service.js'),
});

import { eventLogClient } from '@tributary/events';
import { buildFederatedSchema, type SubgraphParts, viewerReader } from '@tributary/subgraph';
import { Accounts } from './accounts.js';
import { CHECKS, PAID_BY_ORDER } from './audit.js';
import { createContext, type UsersContext } from './context.js';
import type { UsersConfig } from './index.js';
import { applyPaymentCommands, isPaymentCommand } from './payments.js';
import { AccountResolver } from './schema/account-resolver.js';
import { resolveUser, UserResolver } from './schema/user-resolver.js';
import type { UsersTables } from './storage/tables.js';
import { invalidatedBy } from './user-events.js';
import { Users } from './users.js';

export { importCustomers as importHistory } from './import.js';
export { migrations } from './storage/migrations.js';

export function createParts(config: UsersConfig): SubgraphParts<UsersTables, UsersContext> {
  const { AUTH_SECRET, AUTH_JWKS_URL, ORDERS_URL, INTERNAL_SECRET } = config;
  const readViewer = viewerReader({ secret: AUTH_SECRET, jwksUrl: AUTH_JWKS_URL });
  return {
    createSchema: (db) =>
      buildFederatedSchema<UsersContext>({
        resolvers: [new UserResolver(new Users(db)), new AccountResolver(new Accounts(db))],
        references: { User: ({ id }, context) => (id === undefined ? null : resolveUser(context, id)) },
      }),
    createContext: async (db, request) => createContext(new Users(db), new Accounts(db), readViewer, request),
    invalidatedBy,
    states: { User: 'user_states', OrderPayment: PAID_BY_ORDER },
    checks: CHECKS,
    subscriptions: [
      {
        source: 'orders',
        eventLog: eventLogClient(ORDERS_URL, INTERNAL_SECRET),
        filter: isPaymentCommand,
        apply: applyPaymentCommands,
      },
    ],
  };
}

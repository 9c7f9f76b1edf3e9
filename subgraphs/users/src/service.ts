import { ownEventBus, publishEvents, type ServiceParts } from '@tributary/shared/events/service-events';
import type { HttpService } from '@tributary/shared/http/http-service';
import { viewerReader } from '@tributary/shared/http/viewer';
import { type SetUpRequest, setUpDatabase } from '@tributary/shared/service/set-up-database';
import { buildFederatedSchema } from '@tributary/shared/subgraph/schema';
import { createSubgraphService } from '@tributary/shared/subgraph/subgraph-service';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { Accounts } from './accounts.js';
import type { readConfig } from './config.js';
import { createContext, type UsersContext } from './context.js';
import { loadCustomers } from './import.js';
import { AccountResolver } from './schema/account-resolver.js';
import { findUser, UserResolver } from './schema/user-resolver.js';
import { migrations } from './storage/migrations.js';
import type { UsersTables } from './storage/tables.js';
import { Users } from './users.js';

/** Prepares the users database: schema, and the customers of the history. */
export const setUpUsers = (request: SetUpRequest): Promise<boolean> =>
  setUpDatabase('users', migrations, loadCustomers, request);

/** The users subgraph: accounts of people, on a database of its own. */
export async function createUsersService(
  config: ReturnType<typeof readConfig>,
  logger: Logger,
  { bus, onStatement }: ServiceParts = {},
): Promise<HttpService> {
  const readViewer = viewerReader({ secret: config.AUTH_SECRET, jwksUrl: config.AUTH_JWKS_URL });
  const service = await createSubgraphService<UsersTables, UsersContext>({
    name: 'users',
    host: config.HOST,
    port: config.USERS_PORT,
    databaseUrl: config.USERS_DATABASE_URL,
    logger,
    onStatement,
    createSchema: (db) => createUsersSchema(db),
    createContext: async (db, request) => createContext(new Users(db), new Accounts(db), readViewer, request),
  });
  publishEvents(
    service,
    {
      name: 'users',
      databaseUrl: config.USERS_DATABASE_URL,
      settings: config,
      bus: bus ?? ownEventBus(service, 'users', config, logger),
      logger,
    },
    { User: 'user_states' },
  );
  return service;
}

function createUsersSchema(db: Kysely<UsersTables>) {
  return buildFederatedSchema<UsersContext>({
    resolvers: [new UserResolver(new Users(db)), new AccountResolver(new Accounts(db))],
    references: { User: ({ id }, context) => (id === undefined ? null : findUser(context, id)) },
  });
}

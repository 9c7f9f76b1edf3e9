import { consumeEvents, ownEventBus, publishEvents, type ServiceConsumers, type ServiceParts } from '@tributary/events';
import type { HttpService } from '@tributary/server';
import {
  buildFederatedSchema,
  createSubgraphService,
  type ServiceDefinition,
  type SetUpRequest,
  setUpDatabase,
  viewerReader,
} from '@tributary/subgraph';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { Accounts } from './accounts.js';
import { CHECKS, PAID_BY_ORDER } from './audit.js';
import { readConfig } from './config.js';
import { createContext, type UsersContext } from './context.js';
import { CONSUMER, feedsOf } from './feeds.js';
import { loadCustomers } from './import.js';
import { AccountResolver } from './schema/account-resolver.js';
import { resolveUser, UserResolver } from './schema/user-resolver.js';
import { migrations } from './storage/migrations.js';
import type { UsersTables } from './storage/tables.js';
import { invalidatedBy } from './user-events.js';
import { Users } from './users.js';

/** Prepares the users database: schema, and the customers of the history. */
export const setUpUsers = (request: SetUpRequest): Promise<boolean> =>
  setUpDatabase('users', migrations, loadCustomers, request);

/** The users service. It serves without orders' events; `caughtUp` and `inSyncOnce` tell how far it is with them. */
export interface UsersService extends HttpService, ServiceConsumers {}

/** The users subgraph: accounts of people, on a database of its own. */
export async function createUsersService(
  config: ReturnType<typeof readConfig>,
  logger: Logger,
  { bus, onStatement }: ServiceParts = {},
): Promise<UsersService> {
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
  const events = {
    name: CONSUMER,
    databaseUrl: config.USERS_DATABASE_URL,
    settings: config,
    bus: bus ?? ownEventBus(service, 'users', config, logger),
    logger,
    invalidatedBy,
  };
  publishEvents(service, events, { User: 'user_states', OrderPayment: PAID_BY_ORDER }, CHECKS);
  const consumers = consumeEvents<UsersTables>(service, feedsOf(config), [], events);
  return { ...service, ...consumers };
}

/** The schema of this subgraph. Nothing is asked of the database until a field is. */
export function createUsersSchema(db: Kysely<UsersTables>) {
  return buildFederatedSchema<UsersContext>({
    resolvers: [new UserResolver(new Users(db)), new AccountResolver(new Accounts(db))],
    references: { User: ({ id }, context) => (id === undefined ? null : resolveUser(context, id)) },
  });
}

export const definition: ServiceDefinition = {
  name: 'users',
  port: 4001,
  setUp: setUpUsers,
  create: (env, logger, parts) => createUsersService(readConfig(env), logger, parts),
};

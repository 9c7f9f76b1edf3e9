import {
  type AuditCheck,
  consumeEvents,
  type EventSettings,
  type EventSubscription,
  eventLogConsumers,
  eventSettings,
  ownEventBus,
  publishEvents,
  type ServiceConsumers,
  type ServiceEventsOptions,
  type ServiceParts,
  type StateSource,
  type VerificationAudit,
} from '@tributary/events';
import type { Migrations } from '@tributary/postgres';
import {
  databaseUrl,
  type GraphQLRequest,
  type HttpService,
  port,
  readEnvironment,
  runCommand,
  serveCommand,
  serveSettings,
  settingOf,
} from '@tributary/server';
import type { GraphQLSchema } from 'graphql';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { z } from 'zod';
import { databaseCommand, setUpCommand, setUpSettings } from './database-commands.js';
import { type DeriveData, type LoadHistory, type SetUpRequest, setUpDatabase } from './set-up-database.js';
import { type Admin, type AdminCopy, SubgraphAdmin } from './subgraph-admin.js';
import { createSubgraphService } from './subgraph-service.js';

/** The values of a subgraph's own settings, and of those that every subgraph has. */
export type SubgraphConfig<Own extends z.ZodRawShape = z.ZodRawShape> = z.infer<z.ZodObject<Own>> &
  EventSettings &
  z.infer<z.ZodObject<typeof serveSettings>>;

/** The definition of a subgraph, which is read before its code is loaded. */
export interface SubgraphOptions<Own extends z.ZodRawShape> {
  /** The subgraph's name, as in the supergraph: lower case, with hyphens. Its settings begin with it (`USERS_PORT`). */
  readonly name: string;
  /** The port on a developer's machine, unless `<NAME>_PORT` says another. */
  readonly port: number;
  /** Its own settings; ports, database, events and processes are there for every subgraph. */
  readonly settings?: Own;
  /** Names of the services that read its event log, with commas; the default of `EVENT_LOG_CONSUMERS`. */
  readonly consumers?: string;
  /** Loads its code, when its settings have been found correct. */
  // biome-ignore lint/suspicious/noExplicitAny: each subgraph has tables and a context of its own
  readonly load: () => Promise<SubgraphModule<SubgraphConfig<Own>, any, any>>;
  /** Further commands of its program, on its database. */
  readonly commands?: Readonly<
    Record<string, { readonly description: string; readonly run: (databaseUrl: string) => Promise<string> }>
  >;
}

/** The code of a subgraph: what its `service.ts` exports. */
export interface SubgraphModule<Config, Tables, Context> {
  /** The versions of its database schema. */
  readonly migrations: Migrations;
  /** Writes derived data that a database of an earlier release lacks, after migrations; left out, it has none. */
  readonly deriveData?: DeriveData<Tables>;
  /** Writes its part of the sample data; left out, it has none. */
  readonly importHistory?: LoadHistory<Tables>;
  /** The parts of one running service. */
  readonly createParts: (config: Config, connection: SubgraphConnection) => SubgraphParts<Tables, Context>;
  /** What operators do; left out, dead letters and copies are all there is to look after. */
  readonly createAdmin?: (databaseUrl: string, config: Config) => Admin;
}

export interface SubgraphConnection {
  /** The service's own database. */
  readonly databaseUrl: string;
  readonly logger: Logger;
}

export interface SubgraphParts<Tables, Context> {
  /** Builds its federated schema. No statement is run before a field is resolved. */
  readonly createSchema: (db: Kysely<Tables>) => Promise<GraphQLSchema>;
  /** What the resolvers of one request share: data loaders, the viewer. */
  readonly createContext: (db: Kysely<Tables>, request: GraphQLRequest) => Promise<Context>;
  /** The entities of the graph (`Type:id`) with a field, in this subgraph, that an event may have changed. */
  readonly invalidatedBy: ServiceEventsOptions['invalidatedBy'];
  /** For each aggregate type, the view that copies are compared with. */
  readonly states?: Readonly<Record<string, StateSource>>;
  /** What its own database must fulfil at all times. */
  readonly checks?: readonly AuditCheck[];
  /** The events of other services that it applies. */
  readonly subscriptions?: readonly EventSubscription<Tables>[];
  /** The copies of other services' data that it keeps; it is ready when each was in sync once. */
  readonly copies?: readonly AdminCopy<Tables>[];
  /** Run after each comparison of the copies. */
  readonly audit?: VerificationAudit<Tables>;
  /** Metrics that exist before the service does. */
  readonly metrics?: Registry;
  /** Starts its background work; `service.onClose` ends it. */
  readonly start?: (service: HttpService) => void;
}

/** A running subgraph. */
export interface SubgraphService extends HttpService, ServiceConsumers {}

/** A subgraph as programs load it: what `src/index.ts` of every folder in `subgraphs/` exports as `definition`. */
export interface SubgraphDefinition<Own extends z.ZodRawShape = z.ZodRawShape> {
  readonly name: string;
  readonly port: number;
  readonly settings: z.ZodRawShape;
  readonly commands: NonNullable<SubgraphOptions<Own>['commands']>;
  readonly load: SubgraphOptions<Own>['load'];
  /** @throws ConfigurationError that has every problem */
  readonly readConfig: (env?: NodeJS.ProcessEnv) => SubgraphConfig<Own>;
  /**
   * Brings its database to the newest schema, and fills it with sample data once.
   *
   * @returns whether it was filled now
   */
  readonly setUp: (request: SetUpRequest) => Promise<boolean>;
  /**
   * Creates the service, which then can listen.
   *
   * @param env `<NAME>_PORT`, `<NAME>_URL` and `<NAME>_DATABASE_URL` of every service, and the secrets that they share
   * @throws ConfigurationError when a setting is wrong
   */
  readonly create: (env: NodeJS.ProcessEnv, logger: Logger, parts?: ServiceParts) => Promise<SubgraphService>;
  /**
   * Opens what operators do, beside the running service.
   *
   * @param env as for `create`; ports are not needed
   */
  readonly openAdmin: (env: NodeJS.ProcessEnv, logger: Logger) => Promise<Admin>;
}

/**
 * Defines a subgraph: its name, settings and code, from which programs, operators' commands and tests create what they need.
 *
 * @example
 * ```ts
 * import assert from 'node:assert/strict';
 * import { defineSubgraph } from '@tributary/subgraph';
 *
 * const definition = defineSubgraph({ name: 'reviews', port: 4004, load: async () => ({}) as never });
 * const config = definition.readConfig({ REVIEWS_DATABASE_URL: 'postgres://reviews:secret@localhost/reviews' });
 * assert.deepEqual(config.EVENT_LOG_CONSUMERS, []);
 * ```
 */
export function defineSubgraph<Own extends z.ZodRawShape = Record<never, never>>(
  options: SubgraphOptions<Own>,
): SubgraphDefinition<Own> {
  const { name, load, commands = {} } = options;
  const portSetting = settingOf(name, 'PORT');
  const databaseSetting = settingOf(name, 'DATABASE_URL');
  const settings = {
    [portSetting]: port(options.port).describe('Port to listen on; 0 picks a free one.'),
    [databaseSetting]: databaseUrl.describe('Database of the service: `postgres://role:password@host:port/database`.'),
    ...options.settings,
    ...eventSettings,
    EVENT_LOG_CONSUMERS: eventLogConsumers(options.consumers ?? ''),
    ...serveSettings,
  };
  const readConfig = (env?: NodeJS.ProcessEnv) => readEnvironment(settings, env) as unknown as SubgraphConfig<Own>;
  const settingIn = <Value>(config: object, setting: string) => (config as Record<string, Value>)[setting] as Value;
  return {
    name,
    port: options.port,
    settings,
    commands,
    load,
    readConfig,
    async setUp(request) {
      const { migrations, deriveData = null, importHistory = null } = await load();
      return setUpDatabase(name, migrations, deriveData, importHistory, request);
    },
    async create(env, logger, { bus, onStatement } = {}) {
      const config = readConfig(env);
      const { createParts } = await load();
      const url = settingIn<string>(config, databaseSetting);
      const parts = createParts(config, { databaseUrl: url, logger });
      const service = await createSubgraphService({
        name,
        host: config.HOST,
        port: settingIn<number>(config, portSetting),
        databaseUrl: url,
        logger,
        onStatement,
        metrics: parts.metrics,
        createSchema: parts.createSchema,
        createContext: parts.createContext,
      });
      const events = {
        name,
        databaseUrl: url,
        settings: config,
        bus: bus ?? ownEventBus(service, name, config, logger),
        logger,
        invalidatedBy: parts.invalidatedBy,
      };
      publishEvents(service, events, parts.states ?? {}, parts.checks);
      const { subscriptions = [], copies = [], audit } = parts;
      const consumers = consumeEvents(service, subscriptions, copies, events, audit);
      parts.start?.(service);
      return { ...service, ...consumers };
    },
    async openAdmin(env, logger) {
      const config = readConfig(env);
      const { createParts, createAdmin } = await load();
      const url = settingIn<string>(config, databaseSetting);
      if (createAdmin) return createAdmin(url, config);
      const { subscriptions = [], copies = [] } = createParts(config, { databaseUrl: url, logger });
      return new SubgraphAdmin({ name, databaseUrl: url, subscriptions, copies });
    },
  };
}

/** Runs the program of a subgraph: `serve`, `setup`, and its further commands. */
export async function runSubgraph<Own extends z.ZodRawShape>(definition: SubgraphDefinition<Own>): Promise<void> {
  const { name, settings, commands } = definition;
  const further = Object.entries(commands).map(([command, work]) => [command, databaseCommand(name, settings, work)]);
  await runCommand(
    name,
    { ...settings, ...setUpSettings },
    {
      serve: serveCommand(name, definition.readConfig, async () => {
        // Loaded before a process of several says that it serves.
        await definition.load();
        return (_config, logger) => definition.create(process.env, logger);
      }),
      setup: setUpCommand(name, settings, async () => definition.setUp),
      ...Object.fromEntries(further),
    },
  );
}

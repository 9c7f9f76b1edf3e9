import { DatabaseClock, DatabaseWatch, openDatabase, pingDatabase, type StatementListener } from '@tributary/postgres';
import {
  causeOf,
  createHttpService,
  type GraphQLRequest,
  type HttpService,
  operationRunner,
  serveGraphQL,
} from '@tributary/server';
import type { GraphQLSchema } from 'graphql';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';

export interface SubgraphServiceOptions<Tables, Context> {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly databaseUrl: string;
  readonly logger: Logger;
  /** Called for every SQL statement, besides the metrics. */
  readonly onStatement?: StatementListener | undefined;
  readonly createSchema: (db: Kysely<Tables>) => Promise<GraphQLSchema>;
  /** What the resolvers of one request share: its data loaders, its viewer. */
  readonly createContext: (db: Kysely<Tables>, request: GraphQLRequest) => Promise<Context>;
  /** Metrics that are there already; the service adds its own. */
  readonly metrics?: Registry | undefined;
  /** Why the service is not ready although its database is up; null when it is. */
  readonly notReady?: () => string | null;
}

/** A subgraph: its schema over HTTP, on its own database. Closing it closes the database's connections too. */
export async function createSubgraphService<Tables, Context>(
  options: SubgraphServiceOptions<Tables, Context>,
): Promise<HttpService> {
  const { name, logger } = options;
  let onStatement: StatementListener | undefined;
  let watch: DatabaseWatch | undefined;
  let closing = false;
  const db = openDatabase<Tables>({
    url: options.databaseUrl,
    applicationName: `tributary-${name}`,
    onStatement: (query, durationMs) => onStatement?.(query, durationMs),
    onConnectionError: (error) => {
      if (!closing) logger.warn({ err: error }, 'a database connection was lost');
    },
    onAway: (error) => watch?.noteFailure(error),
  });
  const service = createHttpService({
    name,
    host: options.host,
    port: options.port,
    logger,
    metrics: options.metrics,
    readiness: async () => {
      try {
        await pingDatabase(db as unknown as Kysely<never>);
        const reason = options.notReady?.() ?? null;
        return { ready: reason === null, database: 'up', ...(reason !== null && { reason }) };
      } catch (error) {
        return { ready: false, database: 'down', reason: causeOf(error) };
      }
    },
  });
  const statements = new Counter({
    name: 'sql_statements_total',
    help: 'SQL statements that were run',
    registers: [service.metrics],
  });
  onStatement = (query, durationMs) => {
    statements.inc();
    options.onStatement?.(query, durationMs);
  };
  watch = new DatabaseWatch(db as unknown as Kysely<never>, logger, service.metrics);
  const clock = new DatabaseClock(db as unknown as Kysely<unknown>);
  service.clocks.add({
    source: 'database',
    offsetMs: () => clock.offsetMs,
    effect: 'the ages of sagas, events and reservations are wrong by that much',
  });
  service.onClose('database', () => {
    closing = true;
    clock.stop();
    watch?.stop();
    return db.destroy();
  });

  const schema = await options.createSchema(db);
  serveGraphQL(
    service.app,
    operationRunner(schema, (request) => options.createContext(db, request)),
  );
  return service;
}

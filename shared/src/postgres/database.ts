import { type CompiledQuery, Kysely, PostgresDialect, sql } from 'kysely';
import pg from 'pg';

const INT8 = 20;

/** Told of every SQL statement, after it ran. */
export type StatementListener = (query: CompiledQuery, durationMs: number) => void;

export interface DatabaseOptions {
  readonly url: string;
  /** Shown in PostgreSQL's list of sessions. */
  readonly applicationName: string;
  /** Upper bound of open connections; default 10. */
  readonly maxConnections?: number;
  /** A statement that runs longer is cancelled by the server; 0 means never. Default 10 s. */
  readonly statementTimeoutMs?: number;
  /**
   * Whether a commit waits for the disk; default true. False is for what can be made again: a crash of the server may take the
   * last commits back, but never half of one.
   */
  readonly durable?: boolean;
  readonly onStatement?: StatementListener;
  /** A connection broke (the pool replaces it). */
  readonly onConnectionError?: (error: Error) => void;
}

/** A connection pool on a service's own database. `numeric` arrives as a string, exact; `bigint` as a number. */
export function openDatabase<Tables>(options: DatabaseOptions): Kysely<Tables> {
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: options.applicationName,
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: 5000,
    idleTimeoutMillis: 30_000,
    statement_timeout: options.statementTimeoutMs ?? 10_000,
    keepAlive: true,
    ...(options.durable === false && { options: '-c synchronous_commit=off' }),
    types: {
      getTypeParser: ((oid: number, format: 'text' | 'binary') =>
        oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
    },
  });
  // The pool listens to idle connections only. One that breaks in a transaction, between two statements, would end the
  // process; so every connection is listened to, and its next statement fails.
  pool.on('connect', (client) => client.on('error', (error) => options.onConnectionError?.(error)));
  pool.on('error', () => undefined);
  const { onStatement } = options;
  return new Kysely<Tables>({
    dialect: new PostgresDialect({ pool }),
    ...(onStatement && { log: (event) => onStatement(event.query, event.queryDurationMillis) }),
  });
}

/** @throws when the database cannot be asked */
export async function pingDatabase(db: Kysely<never>): Promise<void> {
  await sql`select 1`.execute(db);
}

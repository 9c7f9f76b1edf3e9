import { type CompiledQuery, Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { CheckedPool } from './connections.js';

const INT8 = 20;
/** How much later than the server's the client's own timeout is. */
const NETWORK_MS = 2000;
const STATEMENT_TIMEOUT_MS = 8000;
const PING_TIMEOUT_MS = 2000;
/** So old connections end, and with them what load balancers and servers keep for them. */
const MAX_LIFETIME_SECONDS = 1800;
const KEEP_ALIVE_AFTER_MS = 10_000;
const IDLE_IN_TRANSACTION_MS = 60_000;
/** Settings with which the server notices that the client of a long statement is gone. Not every version and platform has them. */
const LONG_WAIT_SETTINGS = {
  client_connection_check_interval: '2s',
  tcp_keepalives_idle: '10s',
  tcp_keepalives_interval: '5s',
  tcp_keepalives_count: '3',
};

/** The pool of each database, for `pingDatabase`. */
const pools = new WeakMap<object, CheckedPool>();

/** Called with every SQL statement, after it ran. */
export type StatementListener = (query: CompiledQuery, durationMs: number) => void;

export interface DatabaseOptions {
  readonly url: string;
  /** Shown in PostgreSQL's list of sessions. */
  readonly applicationName: string;
  /** Upper bound of open connections; default 10. */
  readonly maxConnections?: number;
  /**
   * A statement that runs longer is cancelled by the server. 0 means never. Default 8 s. Waiting for a lock ends earlier, after
   * three quarters of it, and has an error code of its own (55P03).
   */
  readonly statementTimeoutMs?: number;
  /**
   * The server ends a transaction in which nothing runs for this time, in milliseconds: a process that hangs must not hold its locks for ever. Default as
   * long as a statement may take; a minute where that is without limit.
   */
  readonly idleInTransactionTimeoutMs?: number;
  /** How long a statement waits for a connection at most. Default 5 s. */
  readonly connectionTimeoutMs?: number;
  /** When it is aborted, every connection is closed at once: running statements fail, and so do later ones. */
  readonly signal?: AbortSignal;
  readonly onStatement?: StatementListener;
  /** A connection broke (the pool replaces it). */
  readonly onConnectionError?: (error: Error) => void;
  /** A statement got no connection: the database does not answer. */
  readonly onAway?: (error: Error) => void;
}

/** A connection pool on a service's own database. `numeric` arrives as a string, exact; `bigint` as a number. */
export function openDatabase<Tables>(options: DatabaseOptions): Kysely<Tables> {
  const timeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS;
  const pool = new pg.Pool({
    connectionString: options.url,
    application_name: options.applicationName,
    max: options.maxConnections ?? 10,
    connectionTimeoutMillis: options.connectionTimeoutMs ?? 5000,
    idleTimeoutMillis: 30_000,
    maxLifetimeSeconds: MAX_LIFETIME_SECONDS,
    statement_timeout: timeoutMs,
    lock_timeout: timeoutMs * 0.75,
    idle_in_transaction_session_timeout: options.idleInTransactionTimeoutMs ?? (timeoutMs || IDLE_IN_TRANSACTION_MS),
    // The server may be beyond saying so.
    ...(timeoutMs > 0 ? { query_timeout: timeoutMs + NETWORK_MS } : { onConnect: noticeWhenClientIsGone }),
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
    types: {
      getTypeParser: ((oid: number, format: 'text' | 'binary') =>
        oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
    },
  });
  // The pool listens to idle connections only. One that breaks in a transaction, between two statements, would end the
  // process; so every connection is listened to, and its next statement fails.
  pool.on('connect', (client) => client.on('error', (error) => options.onConnectionError?.(error)));
  pool.on('error', () => undefined);
  if (options.signal) closeWhenAborted(pool, options.signal);
  const { onStatement } = options;
  const checked = new CheckedPool(
    pool,
    (error) => options.onConnectionError?.(error),
    (error) => options.onAway?.(error),
  );
  const db = new Kysely<Tables>({
    dialect: new PostgresDialect({ pool: checked }),
    ...(onStatement && { log: (event) => onStatement(event.query, event.queryDurationMillis) }),
  });
  pools.set(db, checked);
  return db;
}

/** Makes statements without a time limit end when their client is gone. */
async function noticeWhenClientIsGone(client: pg.ClientBase): Promise<void> {
  for (const setting of Object.entries(LONG_WAIT_SETTINGS))
    await client.query('select set_config($1, $2, false)', setting).catch(() => undefined);
}

/** Ends every connection, also one that a statement runs on. */
function closeWhenAborted(pool: pg.Pool, signal: AbortSignal): void {
  const clients = new Set<pg.ClientBase>();
  // While a statement runs, this closes the socket. A connection that the pool opens afterwards is ended, too.
  const end = (client: pg.ClientBase) => void (client as pg.Client).end().catch(() => undefined);
  pool.on('connect', (client) => {
    clients.add(client);
    if (signal.aborted) end(client);
  });
  pool.on('remove', (client) => clients.delete(client));
  signal.addEventListener('abort', () => clients.forEach(end), { once: true });
}

/** Resolves when the database answers, or has answered another statement within the last second. @throws when it does not answer within 2 s */
export async function pingDatabase(db: Kysely<never>): Promise<void> {
  const pool = pools.get(db);
  if (!pool) throw new Error('pingDatabase: expected a database that openDatabase returned');
  await pool.ping(PING_TIMEOUT_MS);
}

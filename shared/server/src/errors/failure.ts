/** Messages of pg, its pool and Kysely, without a code, when the database cannot be reached. */
const NO_CONNECTION = new Set([
  'timeout exceeded when trying to connect',
  'timeout expired',
  'Connection terminated',
  'Connection terminated unexpectedly',
  'Connection terminated due to connection timeout',
  'Query read timeout',
  'Client was closed and is not queryable',
  'Client has encountered a connection error and is not queryable',
  'Cannot use a pool after calling end on the pool',
  'driver has already been destroyed',
]);

/** There is no connection to the database: it does not answer, which `DatabaseWatch` reports. `code` is that of the cause. */
export class DatabaseAwayError extends Error {
  override readonly name = 'DatabaseAwayError';
  readonly code: string | undefined;

  constructor(cause: NodeJS.ErrnoException) {
    super(`the database does not answer: ${cause.message || cause.code}`, { cause });
    this.code = cause.code;
  }
}

/** The log level of an error that ended a request or a task: `debug` for what `DatabaseWatch` reports already. */
export const levelOf = (error: unknown): 'debug' | 'error' => (error instanceof DatabaseAwayError ? 'debug' : 'error');

const STATEMENT_CANCELLED = '57014';

/**
 * Whether the same work may succeed later, because the database or the connection failed: connection lost (08), resources (53),
 * shut down (57P), deadlock (40), lock not available (55), a transaction that hung (25P03), or no answer at all. A statement that
 * was cancelled because it took too long (57014) is not transient; waiting for a lock ends earlier, as 55P03.
 */
export function isTransient(error: unknown): boolean {
  if (error instanceof DatabaseAwayError) return true;
  const { code, message = '' } = (error ?? {}) as NodeJS.ErrnoException;
  if (code === undefined) return NO_CONNECTION.has(message);
  if (tookTooLong(error)) return false;
  return /^(08|53|57|40|55|25P03)/.test(code) || /^E[A-Z]+$/.test(code);
}

/** Whether the server cancelled a statement because it took longer than `statement_timeout`. */
export function tookTooLong(error: unknown): boolean {
  return (error as NodeJS.ErrnoException | null)?.code === STATEMENT_CANCELLED;
}

/** Whether the server did not answer a statement within the client's own time limit. */
export function isReadTimeout(error: unknown): boolean {
  const { code, message } = (error ?? {}) as NodeJS.ErrnoException;
  return code === undefined && message === 'Query read timeout';
}

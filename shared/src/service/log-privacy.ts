import type { LoggerOptions } from 'pino';

/** The properties of an error that are logged. PostgreSQL's `detail`, `where` and `hint`, a query and its parameters hold data of users. */
const LOGGED_PROPERTIES = [
  'code',
  'severity',
  'schema',
  'table',
  'column',
  'constraint',
  'routine',
  'syscall',
  'status',
];
/** The causes, and the parts of an AggregateError, that are logged. */
const MAX_CAUSES = 4;
/** PostgreSQL's "data exceptions" quote the value that was refused. */
const DATA_EXCEPTION = /^22[0-9A-Z]{3}$/;
/** The user and the password of a URL, and a token. */
const SECRETS = /:\/\/[^\s/@"\\]+@|\bBearer [\w.~+/=-]+/g;

/** Options of every logger: what it writes holds no data of users and no secrets. */
export const privateLogs = {
  redact: ['*.authorization', '*.password', '*.connectionString', 'req.headers.authorization', 'req.headers.cookie'],
  serializers: { err: (error: unknown) => describeError(error) },
  hooks: { streamWrite: (line: string) => line.replace(SECRETS, hideSecret) },
} satisfies LoggerOptions;

const hideSecret = (secret: string) => (secret.startsWith('Bearer') ? 'Bearer ***' : '://***@');

/** An error as it is logged: its type, message, stack and cause, and of its properties only those that are known to be harmless. */
function describeError(error: unknown, causes = MAX_CAUSES): unknown {
  if (!(error instanceof Error)) return { type: typeof error };
  const described: Record<string, unknown> = {
    type: error.name,
    message: withoutValues(error, error.message),
    stack: withoutValues(error, error.stack ?? ''),
  };
  for (const name of LOGGED_PROPERTIES) {
    const value = (error as unknown as Record<string, unknown>)[name];
    if (typeof value === 'string' || typeof value === 'number') described[name] = value;
  }
  if (causes > 0 && error.cause !== undefined) described.cause = describeError(error.cause, causes - 1);
  if (causes > 0 && error instanceof AggregateError)
    described.errors = error.errors.slice(0, MAX_CAUSES).map((each) => describeError(each, 0));
  return described;
}

function withoutValues(error: Error, text: string): string {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && DATA_EXCEPTION.test(code) ? text.replace(/"[^"]*"/g, '"***"') : text;
}

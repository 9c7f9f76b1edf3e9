import type { LogFn, LoggerOptions } from 'pino';

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
/** A URL, as far as it goes; the paths in a stack are none. */
const URLS = /(?<!file):\/\/[^\s"'\\]+/g;
/** What follows a scheme of HTTP authentication, a parameter of a URL or a property of a log line that holds a secret. */
const SECRETS = [
  /\b((?:Basic|Bearer) )[\w.~+/=-]+/gi,
  /([?&][\w.-]*(?:token|password|secret|key)=)[^\s&"'\\#]+/gi,
  /("(?:(?:proxy-)?authorization|(?:set-)?cookie|password|connectionString)":")(?:[^"\\]|\\.)+/gi,
];

/** Options of every logger: what it writes holds no data of users and no secrets. */
export const privateLogs = {
  serializers: { err: (error: unknown) => describeError(error) },
  hooks: {
    streamWrite: withoutSecrets,
    logMethod(args, log) {
      const [logged, ...rest] = args as unknown[];
      const error = logged instanceof Error ? logged : (logged as { err?: unknown } | null)?.err;
      // Without a message pino takes the error's.
      const message = rest.length === 0 && error instanceof Error ? [causeOf(error)] : rest;
      log.apply(this, [logged, ...message] as Parameters<LogFn>);
    },
  },
} satisfies LoggerOptions;

function withoutSecrets(line: string): string {
  return SECRETS.reduce((text, secret) => text.replace(secret, '$1***'), line.replace(URLS, withoutCredentials));
}

/** A password may hold a slash or an @, where it was not encoded. */
function withoutCredentials(url: string): string {
  const end = url.lastIndexOf('@');
  return end === -1 ? url : `://***${url.slice(end)}`;
}

/** The cause of a failure, in the form of logs, dead letters and `/health/ready`. */
export function causeOf(failure: unknown): string {
  return failure instanceof Error ? withoutValues(failure, failure.message) : String(failure);
}

/** An error as it is logged: its type, message, stack and cause, and only the properties that cannot hold data of users. */
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

/** Without what PostgreSQL or the parser of JSON quotes; who wraps an error may repeat its message. */
function withoutValues(error: Error, text: string): string {
  return quotesValues(error) ? text.replace(/".*"/s, '"***"') : text;
}

function quotesValues(error: unknown, causes = MAX_CAUSES): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  if (error instanceof SyntaxError || (typeof code === 'string' && DATA_EXCEPTION.test(code))) return true;
  return causes > 0 && quotesValues(error.cause, causes - 1);
}

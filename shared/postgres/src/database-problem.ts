import { ConfigurationError, isTransient } from '@tributary/server';

/** Kysely found a migration in the database that the program does not have. */
const NEWER_MIGRATION = /previously executed migration (\S+) is missing/;
const UNTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO_(GET|VERIFY)/;

/**
 * Describes a database problem that an operator can fix: where (without secrets), why, and what to do. Null for other errors.
 *
 * @param setting the variable that has the database's URL
 */
export function databaseProblem(error: unknown, setting: string, databaseUrl: string): ConfigurationError | null {
  const cause = rootOf(error);
  const { code = '', message } = cause;
  const url = new URL(databaseUrl);
  const host = url.searchParams.get('host') ?? url.hostname;
  const server = `PostgreSQL at ${host || 'localhost'}:${url.port || 5432}`;
  const role = decodeURIComponent(url.username);
  const database = decodeURIComponent(url.pathname.slice(1)) || role;
  const problem = (why: string, remedy: string) => new ConfigurationError(`${inOneLine(why)}. ${remedy}`);
  const [, migration] = NEWER_MIGRATION.exec(message) ?? [];

  if (migration)
    return problem(
      `the database "${database}" was set up by a newer version (it has the migration ${migration})`,
      'Run that version, or restore a backup from before the upgrade.',
    );
  if (code === '28P01')
    return problem(`${server} refuses the role "${role}": ${message}`, `Correct the password in ${setting}.`);
  if (code === '28000' && /no encryption|SSL off/.test(message))
    return problem(
      `${server} refuses connections without TLS: ${message}`,
      `Add sslmode=verify-full to the query of ${setting}.`,
    );
  if (code === '28000')
    return problem(`${server} refuses the role "${role}": ${message}`, `Correct the role in ${setting}.`);
  if (code === '3D000')
    return problem(`the database "${database}" does not exist in ${server}`, `Create it, or correct ${setting}.`);
  if (code === '42501')
    return problem(
      `the role "${role}" lacks a right in the database "${database}": ${message}`,
      `Make "${role}" the owner of the database, or correct ${setting}.`,
    );
  if (message === 'The server does not support SSL connections')
    return problem(`${server} does not support TLS`, `Enable it there, or remove sslmode from ${setting}.`);
  if (UNTRUSTED.test(code))
    return problem(
      `the certificate of ${server} is not trusted (${code}: ${message})`,
      'Set NODE_EXTRA_CA_CERTS to the file of its certificate authority.',
    );
  if (isTransient(cause) || code === 'ENOTFOUND')
    return problem(
      `cannot use the database "${database}" of ${server} (${code || message})`,
      `Start PostgreSQL, or correct ${setting}.`,
    );
  return null;
}

/** The original error of the database or the network. */
function rootOf(error: unknown): NodeJS.ErrnoException {
  let root = error instanceof Error ? error : new Error(String(error));
  while (root.cause instanceof Error) root = root.cause;
  // Of several addresses that were tried, the first.
  return root instanceof AggregateError && root.errors[0] instanceof Error ? root.errors[0] : root;
}

const inOneLine = (text: string) => text.replace(/\s+/g, ' ').trim();

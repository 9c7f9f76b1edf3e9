import pg from 'pg';
import type { EmbeddedPostgres } from './embedded-postgres.js';

/**
 * Gives every service a database and a role of the same name, and keeps every role out of the others' databases.
 *
 * @param passwords of their roles, by service
 * @param suffix added to the names, so that several sets fit on one server
 * @returns the connection URL of each service
 */
export async function createServiceDatabases<Name extends string>(
  server: Pick<EmbeddedPostgres, 'url'>,
  passwords: Readonly<Record<Name, string>>,
  suffix = '',
): Promise<Record<Name, string>> {
  const client = new pg.Client({ connectionString: server.url('postgres'), connectionTimeoutMillis: 5000 });
  await client.connect();
  try {
    await client.query('revoke connect on database postgres, template1 from public');
    const urls: [string, string][] = [];
    for (const [service, password] of Object.entries<string>(passwords)) {
      const name = service + suffix;
      await createDatabase(client, name, password);
      urls.push([service, server.url(name, name, password)]);
    }
    return Object.fromEntries(urls) as Record<Name, string>;
  } finally {
    await client.end();
  }
}

async function createDatabase(client: pg.Client, name: string, password: string): Promise<void> {
  const role = pg.escapeIdentifier(name);
  const roles = await client.query('select from pg_roles where rolname = $1', [name]);
  if (roles.rowCount === 0) {
    await client.query(`create role ${role} login password ${pg.escapeLiteral(password)}`);
  }
  const databases = await client.query('select from pg_database where datname = $1', [name]);
  if (databases.rowCount === 0) await client.query(`create database ${role} owner ${role}`);
  // Also after a start that was killed in between: all of this may be said twice.
  await client.query(`revoke connect, temporary on database ${role} from public`);
}

import { randomBytes } from 'node:crypto';
import { createServiceDatabases } from '@tributary/cli';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { SERVICES, type ServiceName } from '../harness/databases.ts';

// A set of roles and databases of its own, made as "npm start" makes them.
const SUFFIX = `_${randomBytes(5).toString('hex')}`;

let urls: Record<ServiceName, string>;
beforeAll(async () => {
  urls = await createServiceDatabases(
    { url: urlOf },
    { users: 'secret of users', products: 'secret of products', orders: 'secret of orders' },
    SUFFIX,
  );
});
afterAll(async () => {
  for (const service of SERVICES) {
    await query(inject('postgresUrl'), `drop database ${service + SUFFIX} with (force)`);
    await query(inject('postgresUrl'), `drop role ${service + SUFFIX}`);
  }
});

function urlOf(database: string, role?: string, password?: string): string {
  const url = new URL(inject('postgresUrl'));
  url.pathname = `/${database}`;
  if (role) url.username = role;
  if (password) url.password = encodeURIComponent(password);
  return url.href;
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url);
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

describe.each(SERVICES)('the role of %s', (role) => {
  const databaseUrl = (database: string) => urlOf(database, role + SUFFIX, `secret of ${role}`);

  test('connects to its own database, with its own password only', async () => {
    expect(await query(urls[role], 'select current_user as role')).toEqual([{ role: role + SUFFIX }]);
    await expect(query(urlOf(role + SUFFIX, role + SUFFIX, 'another'), 'select 1')).rejects.toMatchObject({
      code: '28P01',
    });
  });

  test.each([
    ...SERVICES.filter((service) => service !== role).map((service) => service + SUFFIX),
    'postgres',
    'template1',
  ])('is refused by the database %s', async (database) => {
    await expect(query(databaseUrl(database), 'select 1')).rejects.toMatchObject({
      code: '42501',
      message: expect.stringContaining('permission denied for database'),
    });
  });

  test('is no superuser and may make neither roles nor databases', async () => {
    const [rights] = await query(
      urls[role],
      'select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls from pg_roles where rolname = current_user',
    );
    expect(Object.values(rights ?? {})).toEqual([false, false, false, false]);
  });
});

test('making them again changes nothing', async () => {
  const again = await createServiceDatabases(
    { url: urlOf },
    { users: 'secret of users', products: 'secret of products', orders: 'secret of orders' },
    SUFFIX,
  );
  expect(again).toEqual(urls);
});

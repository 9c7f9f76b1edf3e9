import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';

const SERVICES = ['users', 'products', 'orders'] as const;

let databases: TestDatabases;
beforeAll(async () => {
  databases = await cloneDatabases();
});
afterAll(() => databases?.drop());

describe.each(SERVICES)('the role of %s', (role) => {
  test('connects to its own database', async () => {
    expect(await databases.query(role, 'select current_user as role')).toEqual([{ role }]);
  });

  test.each(SERVICES.filter((service) => service !== role))('is refused by the database of %s', async (other) => {
    const url = new URL(databases.urls[role]);
    url.pathname = new URL(databases.urls[other]).pathname;
    const client = new pg.Client(url.href);
    await expect(client.connect()).rejects.toMatchObject({ code: '42501', message: /permission denied for database/ });
  });

  test('is no superuser and may make neither roles nor databases', async () => {
    const [rights] = await databases.query(
      role,
      'select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls from pg_roles where rolname = current_user',
    );
    expect(Object.values(rights ?? {})).toEqual([false, false, false, false]);
  });
});

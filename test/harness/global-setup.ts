import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServiceDatabases, EmbeddedPostgres } from '@tributary/cli';
import { definition as orders } from '@tributary/orders';
import { definition as products } from '@tributary/products';
import { readSuperstore } from '@tributary/superstore';
import { definition as users } from '@tributary/users';
import type { TestProject } from 'vitest/node';

const PASSWORD = 'tests-only';
/** Set: a missing binary that a test needs fails the run; otherwise the test is skipped. */
const REQUIRE_SERVICES = process.env.REQUIRE_SERVICES === '1';

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of the superuser, for the database `postgres`. */
    postgresUrl: string;
    requireServices: boolean;
  }
}

/** One PostgreSQL server for all test files, with a database per service that holds the whole history, to clone. */
export default async function setUp(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-test-'));
  const server = await EmbeddedPostgres.start({ dataFolder: folder, port: 0, password: PASSWORD, durable: false });
  const stop = async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await importHistory(server);
  } catch (error) {
    await stop();
    throw error;
  }
  project.provide('postgresUrl', server.url('postgres'));
  project.provide('requireServices', REQUIRE_SERVICES);
  return stop;
}

async function importHistory(server: EmbeddedPostgres): Promise<void> {
  const urls = await createServiceDatabases(server, { users: PASSWORD, products: PASSWORD, orders: PASSWORD });
  const history = readSuperstore();
  const request = { scale: 1, readHistory: () => history };
  await users.setUp({ ...request, databaseUrl: urls.users });
  await products.setUp({ ...request, databaseUrl: urls.products });
  await orders.setUp({ ...request, databaseUrl: urls.orders });
}

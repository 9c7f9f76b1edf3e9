import { importOnce, type Migrations, migrate, openDatabase } from '@tributary/postgres';
import type { LoadHistory } from '@tributary/subgraph';
import { readSuperstore } from '@tributary/superstore';
import type { Kysely } from 'kysely';
import type { ServiceName, TestDatabases } from './databases.ts';

/** Brings a service's database back to what an earlier release made: its migrations up to `last`, and the history. */
export async function rebuildAtMigration<Tables>(
  databases: TestDatabases,
  service: ServiceName,
  migrations: Migrations,
  last: string,
  load: LoadHistory<Tables>,
): Promise<void> {
  await databases.query(service, 'drop schema public cascade; create schema public');
  const db = openDatabase<Tables>({ url: databases.urls[service], applicationName: 'test-earlier', maxConnections: 2 });
  try {
    const earlier = Object.fromEntries(Object.entries(migrations).filter(([name]) => name <= last));
    await migrate(db as unknown as Kysely<never>, earlier);
    await importOnce(db, 'superstore', 1, (transaction) => load(transaction, readSuperstore(), () => undefined));
  } finally {
    await db.destroy();
  }
}

import { endCompatibility, importOnce, type Migrations, migrate, openDatabase } from '@tributary/postgres';
import type { Superstore } from '@tributary/superstore';
import type { Kysely } from 'kysely';

/** What a set-up needs from outside: where the database is, and the history to fill it with. */
export interface SetUpRequest {
  readonly databaseUrl: string;
  /** How much of the Superstore history to import; 0 imports nothing. */
  readonly scale: number;
  /** Called only when there is something to import. */
  readonly readHistory: () => Superstore;
  /** Called with the number of rows written, as the import proceeds. */
  readonly onRows?: (count: number) => void;
}

/** Writes a service's part of the history, in one transaction. */
export type LoadHistory<Tables> = (
  transaction: Kysely<Tables>,
  history: Superstore,
  onRows: (count: number) => void,
) => Promise<void>;

/**
 * Writes data that is derived from other data of the service, where a database of an earlier release lacks it. It runs after
 * migrations, in their transaction, and never without them. A frozen migration cannot do it: it would need code of today.
 */
export type DeriveData<Tables> = (transaction: Kysely<Tables>) => Promise<void>;

/**
 * Brings a service's database to the newest schema and fills it with history, once.
 *
 * @param derive null for a service without derived data
 * @param load null for a service that has no part in the history
 * @returns whether history was imported now
 * @throws ImportConflictError when history of another scale is there
 */
export async function setUpDatabase<Tables>(
  name: string,
  migrations: Migrations,
  derive: DeriveData<Tables> | null,
  load: LoadHistory<Tables> | null,
  { databaseUrl, scale, readHistory, onRows = () => undefined }: SetUpRequest,
): Promise<boolean> {
  const db = openDatabase<Tables>({
    url: databaseUrl,
    applicationName: `tributary-${name}-set-up`,
    maxConnections: 2,
    statementTimeoutMs: 0,
  });
  try {
    await migrate(db as unknown as Kysely<never>, migrations, async (transaction) => {
      await derive?.(transaction as Kysely<Tables>);
    });
    await endCompatibility(db as unknown as Kysely<never>);
    if (scale === 0 || load === null) return false;
    return await importOnce(db, 'superstore', scale, (transaction) => load(transaction, readHistory(), onRows));
  } finally {
    await db.destroy();
  }
}

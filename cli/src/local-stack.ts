import { writeFileSync } from 'node:fs';
import type { SubgraphDefinition } from '@tributary/subgraph';
import { readSuperstore, type Superstore } from '@tributary/superstore';
import { DataFolder, explainFolderError } from './data-folder.js';
import { describeImport, type ImportProgress, showImportProgress } from './import-progress.js';
import { EmbeddedPostgres } from './postgres/embedded-postgres.js';
import { createServiceDatabases } from './postgres/service-databases.js';
import { forgetConnections, noteConnections } from './running-stack.js';

export interface LocalDataOptions {
  readonly dataDir: string;
  readonly postgresPort: number;
  /** How much of the Superstore history to import. */
  readonly scale: number;
  readonly fresh: boolean;
  /** False trades durability for speed, for tests. */
  readonly durable?: boolean;
}

/** The databases of a local stack, filled and ready to serve. */
export interface LocalData {
  /** By service. */
  readonly databaseUrls: Readonly<Record<string, string>>;
  /** Signs development tokens. */
  readonly tokenSecret: string;
  /** Lets the services of this stack read each other's event logs. */
  readonly internalSecret: string;
  /** Resolves when PostgreSQL ends, whether it was stopped or failed. */
  readonly ended: Promise<void>;
  /** Notes where the services and their databases answer, for the operators' commands. */
  note(environment: Readonly<Record<string, string>>): void;
  stop(): Promise<void>;
}

/**
 * Starts PostgreSQL, gives every service its database, brings the schemas up to date and imports the history once.
 *
 * @param services may still be loading, while PostgreSQL starts
 * @param say prints a line for each step
 * @param stopped aborts the start: PostgreSQL is stopped, and an unfinished import is rolled back
 * @throws UserError or ImportConflictError for a problem that you can fix
 */
export async function startLocalData(
  services: readonly SubgraphDefinition[] | Promise<readonly SubgraphDefinition[]>,
  options: LocalDataOptions,
  say: (line: string) => void,
  stopped: AbortSignal,
): Promise<LocalData> {
  const folder = DataFolder.take(options.dataDir, options.fresh);
  if (options.fresh && folder.foreign.length > 0) {
    say(`Files that Tributary did not write stay in ${folder.path}: ${folder.foreign.join(', ')}`);
  }
  let server: EmbeddedPostgres | undefined;
  const cutShort = () => void server?.stop();
  const stop = async () => {
    await server?.stop();
    forgetConnections(folder.path);
    folder.release();
  };
  try {
    const startedAt = performance.now();
    server = await EmbeddedPostgres.start({
      dataFolder: folder.path,
      port: options.postgresPort,
      password: folder.secrets([]).postgres,
      ...(options.durable !== undefined && { durable: options.durable }),
    });
    stopped.addEventListener('abort', cutShort);
    stopped.throwIfAborted();
    say(`PostgreSQL runs on 127.0.0.1:${server.port} (${since(startedAt)}), data in ${folder.path}`);
    const loaded = await services;
    stopped.throwIfAborted();
    const names = loaded.map(({ name }) => name);
    const secrets = folder.secrets(names);
    const passwords = Object.fromEntries(names.map((name) => [name, secrets[name] as string]));
    const databaseUrls = await createServiceDatabases(server, passwords);
    await importHistory(loaded, databaseUrls, options.scale, folder, say);
    return {
      databaseUrls,
      tokenSecret: secrets.tokens,
      internalSecret: secrets.internal,
      note: (environment) => noteConnections(folder.path, { ...environment, INTERNAL_SECRET: secrets.internal }),
      ended: server.ended,
      stop,
    };
  } catch (error) {
    if (server) await stop();
    else folder.discard();
    throw explainFolderError(error, folder.path);
  } finally {
    stopped.removeEventListener('abort', cutShort);
  }
}

async function importHistory(
  services: readonly SubgraphDefinition[],
  databaseUrls: LocalData['databaseUrls'],
  scale: number,
  folder: DataFolder,
  say: (line: string) => void,
): Promise<void> {
  const startedAt = performance.now();
  let history: Superstore | undefined;
  let progress: ImportProgress | undefined;
  const readHistory = () => {
    if (!history) {
      say('Importing the Superstore history …');
      history = readSuperstore(scale);
      const { customers, products, orders } = history;
      progress = showImportProgress('import', customers.length + products.length + orders.length);
    }
    return history;
  };
  const request = { scale, readHistory, onRows: (rows: number) => progress?.advance(rows) };
  try {
    await Promise.all(
      services.map(({ name, setUp }) => setUp({ ...request, databaseUrl: databaseUrls[name] as string })),
    );
  } finally {
    progress?.done();
  }
  if (!history) return;
  const file = folder.file('import-report.json');
  writeFileSync(file, JSON.stringify((history as Superstore).report, null, 2));
  say(`Imported in ${since(startedAt)} (details in ${file}):\n${describeImport((history as Superstore).report)}`);
}

export function since(startedAt: number): string {
  return `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
}

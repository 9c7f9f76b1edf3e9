import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { UserError } from './user-error.js';

const FILE = 'running.json';

const connectionsSchema = z.object({
  USERS_DATABASE_URL: z.string(),
  PRODUCTS_DATABASE_URL: z.string(),
  ORDERS_DATABASE_URL: z.string(),
  ORDERS_URL: z.string(),
  USERS_URL: z.string(),
  PRODUCTS_URL: z.string(),
  INTERNAL_SECRET: z.string().optional(),
});

/** Where the parts of a running stack are reached; the names are those of the environment variables. */
export type Connections = z.infer<typeof connectionsSchema>;

/** Notes where a local stack is reached, for commands beside it; readable for its owner only. */
export function noteConnections(folder: string, connections: Readonly<Record<string, string>>): void {
  writeFileSync(join(folder, FILE), JSON.stringify(connections, null, 2), { mode: 0o600 });
}

export function forgetConnections(folder: string): void {
  rmSync(join(folder, FILE), { force: true });
}

/**
 * Where the stack is: from the environment when it says so, else the local one of the data folder.
 *
 * @throws UserError when neither does
 */
export function findConnections(dataDir: string, env: NodeJS.ProcessEnv = process.env): Connections {
  return connectionsSchema.parse(findVariables(dataDir, env));
}

/**
 * The base URL of every service of the stack, by name: of each whose URL and database are known.
 *
 * @throws UserError when there is no stack
 */
export function findServiceUrls(dataDir: string, env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const variables = findVariables(dataDir, env);
  const services = Object.entries(variables).flatMap(([name, url]) => {
    const prefix = /^([A-Z0-9_]+)_URL$/.exec(name)?.[1];
    const isService = prefix !== undefined && variables[`${prefix}_DATABASE_URL`] !== undefined;
    return isService && url ? [[prefix.toLowerCase().replaceAll('_', '-'), url]] : [];
  });
  return Object.fromEntries(services);
}

function findVariables(dataDir: string, env: NodeJS.ProcessEnv): Readonly<Record<string, string | undefined>> {
  if (connectionsSchema.safeParse(env).success) return env;
  const file = join(resolve(dataDir), FILE);
  const local = existsSync(file) ? readJson(file) : undefined;
  if (connectionsSchema.safeParse(local).success) return local as Record<string, string>;
  throw new UserError(
    `No stack runs on the data folder ${resolve(dataDir)}.\nStart it, or set USERS_URL, PRODUCTS_URL, ORDERS_URL, ` +
      'USERS_DATABASE_URL, PRODUCTS_DATABASE_URL and ORDERS_DATABASE_URL (and INTERNAL_SECRET, where the services have one) for another.',
  );
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

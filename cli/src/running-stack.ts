import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ConfigurationError, databaseUrl, readEnvironment, urlSetting } from '@tributary/server';
import { z } from 'zod';
import { NOTE, namesStack, noStack } from '../bin/stack.mjs';
import { UserError } from './user-error.js';

const HTTP = ['http', 'https'];
const CONNECTIONS = {
  USERS_URL: urlSetting(HTTP, 'http://localhost:4001'),
  PRODUCTS_URL: urlSetting(HTTP, 'http://localhost:4002'),
  ORDERS_URL: urlSetting(HTTP, 'http://localhost:4003'),
  USERS_DATABASE_URL: databaseUrl,
  PRODUCTS_DATABASE_URL: databaseUrl,
  ORDERS_DATABASE_URL: databaseUrl,
  INTERNAL_SECRET: z.string().optional(),
};

/** Where the parts of a running stack are reached; the names are those of the environment variables. */
export type Connections = z.infer<z.ZodObject<typeof CONNECTIONS>>;

/** Notes where a local stack is reached, for commands beside it; readable for its owner only. */
export function noteConnections(folder: string, connections: Readonly<Record<string, string>>): void {
  writeFileSync(join(folder, NOTE), JSON.stringify(connections, null, 2), { mode: 0o600 });
}

export function forgetConnections(folder: string): void {
  rmSync(join(folder, NOTE), { force: true });
}

/**
 * Where the stack is: what the environment names, else the local one of the data folder.
 *
 * @throws UserError when neither is there, and when the environment names a stack in part
 */
export function findConnections(dataDir: string, env: NodeJS.ProcessEnv = process.env): Connections {
  return z.object(CONNECTIONS).parse(findVariables(dataDir, env));
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

/**
 * The environment variables that lead to the services of the stack, also those of services that were added.
 *
 * @throws UserError when there is no stack, and when the environment names one in part
 */
export function findVariables(
  dataDir: string,
  env: NodeJS.ProcessEnv = process.env,
): Readonly<Record<string, string | undefined>> {
  if (namesStack(env)) {
    const connections = readConnections(env);
    // Those of services that were added, too.
    return { ...connections, ...env, ...connections };
  }
  const local = z.looseObject(CONNECTIONS).safeParse(readJson(join(dataDir, NOTE)));
  if (local.success) return local.data as Record<string, string>;
  throw new UserError(noStack(dataDir));
}

/** All of them or none: with some, an operator would look at one stack and change another. */
function readConnections(env: NodeJS.ProcessEnv): Connections {
  try {
    return readEnvironment(CONNECTIONS, env);
  } catch (error) {
    const lines = (error as ConfigurationError).problems.map(({ setting, problem }) => `  ${setting}: ${problem}`);
    throw new UserError(
      `Invalid settings:\n${lines.join('\n')}\nSet all that lead to a stack, or none of them for that of the data folder.`,
    );
  }
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    return undefined;
  }
}

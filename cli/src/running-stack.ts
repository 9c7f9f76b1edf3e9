import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ConfigurationError, databaseUrl, readEnvironment, settingOf, urlSetting } from '@tributary/server';
import { z } from 'zod';
import { readServiceFolders } from '../bin/service-folders.mjs';
import { NOTE, namesStack, noStack } from '../bin/stack.mjs';
import { UserError } from './user-error.js';

const HTTP = ['http', 'https'];

/** Where the parts of a running stack are reached; the names are those of the environment variables. */
export type Connections = Readonly<Record<string, string | undefined>>;

const notedSchema = z.record(z.string(), z.string());

/** Notes where a local stack is reached, for commands beside it; readable for its owner only. */
export function noteConnections(folder: string, connections: Readonly<Record<string, string>>): void {
  writeFileSync(join(folder, NOTE), JSON.stringify(connections, null, 2), { mode: 0o600 });
}

export function forgetConnections(folder: string): void {
  rmSync(join(folder, NOTE), { force: true });
}

/**
 * The base URL of every service of the stack, by name: of each whose URL and database are given.
 *
 * @throws UserError when there is no stack
 */
export function findServiceUrls(dataDir: string, env: NodeJS.ProcessEnv = process.env): Record<string, string> {
  const variables = findConnections(dataDir, env);
  const services = Object.entries(variables).flatMap(([name, url]) => {
    const prefix = /^([A-Z0-9_]+)_URL$/.exec(name)?.[1];
    const isService = prefix !== undefined && variables[`${prefix}_DATABASE_URL`] !== undefined;
    return isService && url ? [[prefix.toLowerCase().replaceAll('_', '-'), url]] : [];
  });
  return Object.fromEntries(services);
}

/**
 * Where the stack is: what the environment names, else the local one of the data folder.
 *
 * @throws UserError when neither is there, and when the environment names a stack in part
 */
export function findConnections(dataDir: string, env: NodeJS.ProcessEnv = process.env): Connections {
  // The services read more of the environment, such as secrets of their own.
  if (namesStack(env)) return { ...env, ...readConnections(env) };
  const noted = notedSchema.safeParse(readJson(join(dataDir, NOTE)));
  if (noted.success) return noted.data;
  throw new UserError(noStack(dataDir));
}

/** All of them or none: with some, an operator would look at one stack and change another. */
function readConnections(env: NodeJS.ProcessEnv): Connections {
  const services = readServiceFolders();
  const shape = {
    ...Object.fromEntries(
      services.map(({ name, port = 80 }) => [settingOf(name, 'URL'), urlSetting(HTTP, `http://localhost:${port}`)]),
    ),
    ...Object.fromEntries(services.map(({ name }) => [settingOf(name, 'DATABASE_URL'), databaseUrl])),
    INTERNAL_SECRET: z.string().optional(),
  };
  try {
    return readEnvironment(shape, env) as Connections;
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

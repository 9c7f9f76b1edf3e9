import { constants } from 'node:fs';
import { access, open, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { ConfigurationError, fileProblem, gotPath } from '@tributary/server';
import type { GatewayConfig } from './config.js';

/**
 * Finds out at the start whether the files that the settings name can be used.
 *
 * @throws ConfigurationError
 */
export async function checkFiles(config: GatewayConfig): Promise<void> {
  const { SUPERGRAPH_PATH, SUPERGRAPH_FALLBACK, WARM_UP_STORE } = config;
  if (SUPERGRAPH_PATH) await checkReadable(SUPERGRAPH_PATH);
  else await checkWritable('SUPERGRAPH_FALLBACK', SUPERGRAPH_FALLBACK);
  await checkWritable('WARM_UP_STORE', WARM_UP_STORE);
}

async function checkReadable(path: string): Promise<void> {
  try {
    const file = await open(path);
    try {
      await file.read({ buffer: Buffer.alloc(1) });
    } finally {
      await file.close();
    }
  } catch (error) {
    throw unusableSupergraph(path, error);
  }
}

/** It is written anew, and put in the place of the one before: the folder must be writable. */
async function checkWritable(setting: string, path: string | undefined): Promise<void> {
  if (!path || path === 'redis') return;
  const expected = `${setting}: expected "redis" or a file in a folder that can be written`;
  const isFolder = (await stat(path).catch(() => null))?.isDirectory() ?? false;
  if (isFolder) throw new ConfigurationError(`${expected}; ${gotPath(path)} (it is a folder)`);
  const folder = dirname(resolve(path));
  try {
    await access(`${folder}/`, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw new ConfigurationError(`${expected}; ${gotPath(path)} (${folder}: ${fileProblem(error)})`);
  }
}

const LONGEST_REASON = 300;

/** Why the file that SUPERGRAPH_PATH names is not served. */
export function unusableSupergraph(path: string, error: unknown): ConfigurationError {
  const reason = fileProblem(error).replace(/\s+/g, ' ').slice(0, LONGEST_REASON);
  const hint = /must be a core schema/.test(reason) ? 'it is the schema of an API or of a subgraph' : reason;
  return new ConfigurationError(
    `SUPERGRAPH_PATH: expected a file with a composed federation supergraph; ${gotPath(path)} (${hint})`,
  );
}

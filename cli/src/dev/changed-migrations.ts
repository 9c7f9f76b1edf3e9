import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { PROJECT } from '../services.js';
import { hashMigrations } from './packages.js';
import { StartError } from './program.js';

const TIMEOUT_MS = 60_000;

/**
 * Creates a step that runs a service's migrations if they have changed since it last ran.
 *
 * @param folder the service's, in the project
 * @returns the step; it throws StartError when a migration fails
 */
export function runChangedMigrations(
  folder: string,
  environment: Readonly<Record<string, string>>,
  stopped: AbortSignal,
): () => Promise<void> {
  let done = hashMigrations(folder);
  return async () => {
    const now = hashMigrations(folder);
    if (now === done) return;
    const problem = await setUp(folder, environment, stopped);
    if (problem !== null) throw new StartError(`its database cannot be brought up to date: ${problem}`);
    done = now;
  };
}

/** Runs the program's own command. @returns what it prints when it fails; null when it succeeds */
async function setUp(
  folder: string,
  environment: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string | null> {
  const child = spawn(process.execPath, [join(PROJECT, folder, 'dist/main.js'), 'setup'], {
    cwd: PROJECT,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: TIMEOUT_MS,
    signal,
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const status = await new Promise<number | NodeJS.Signals | null>((resolve, reject) =>
    child.once('error', reject).once('close', (code, killedBy) => resolve(killedBy ?? code)),
  );
  return status === 0 ? null : said.trim() || `its set-up ended (${status})`;
}

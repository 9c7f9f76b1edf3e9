import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, inject } from 'vitest';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
/** The commit of the release from which an upgrade without downtime is tested. */
const EARLIER_RELEASE = 'ceee23a';
/**
 * Builds an earlier release of the project from its git history, in about half a minute.
 *
 * `TRIBUTARY_EARLIER_RELEASE` names the folder of a build to use instead.
 *
 * @param folder where to build it; it is the caller's to remove
 * @returns the folder of the build; null where the history is not there (a shallow clone), unless services are required
 */
export async function buildEarlierRelease(folder: string, commit = EARLIER_RELEASE): Promise<string | null> {
  const given = process.env.TRIBUTARY_EARLIER_RELEASE;
  if (given) return given;
  if (!isInHistory(commit)) {
    const needed = `commit ${commit} is required here: fetch the history (git fetch --unshallow)`;
    expect(inject('requireServices'), needed).toBe(false);
    return null;
  }
  mkdirSync(folder, { recursive: true });
  const archive = execFileSync('git', ['archive', commit], { cwd: PROJECT, maxBuffer: 256 * 1024 * 1024 });
  execFileSync('tar', ['-x', '-C', folder], { input: archive });
  await npm(folder, 'ci', '--prefer-offline', '--no-audit', '--no-fund');
  await npm(folder, 'run', 'build');
  return folder;
}

function isInHistory(commit: string): boolean {
  try {
    execFileSync('git', ['cat-file', '-e', `${commit}^{commit}`], { cwd: PROJECT, stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

async function npm(folder: string, ...args: string[]): Promise<void> {
  const child = spawn('npm', args, {
    cwd: folder,
    env: { ...ownEnvironment(), TURBO_TELEMETRY_DISABLED: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const status = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  if (status !== 0) throw new Error(`npm ${args.join(' ')} failed in ${folder}:\n${output}`);
}

/** What npm and Turborepo set for the scripts of this project would mislead them in another one. */
function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|TURBO_|NODE_ENV$|VITEST)/i.test(name)),
  );
}

import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { TURBO_ENVIRONMENT, turboProgram } from '../../bin/turbo.mjs';
import { PROJECT } from '../services.js';
import type { Package } from './packages.js';

const TIMEOUT_MS = 120_000;
/** The most that is shown of a failed build. */
const MAX_LINES = 20;

/**
 * Builds the packages that changed since their last build. The output of a package that does not compile stays as it was.
 *
 * @returns the compilers' errors; null when everything is built
 * @throws when the signal aborts
 */
export async function build(packages: readonly Package[], signal: AbortSignal): Promise<string | null> {
  // With colours, compilers print errors in another form.
  const { FORCE_COLOR: _, ...plain } = process.env;
  const args = ['run', 'build', 'bundle', '--output-logs=errors-only', '--continue=dependencies-successful'];
  const child = spawn(turboProgram(), [...args, ...packages.map(({ name }) => `--filter=${name}`)], {
    cwd: PROJECT,
    env: { ...plain, ...TURBO_ENVIRONMENT, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A group of its own: the compilers end with it.
    detached: true,
  });
  const kill = () => child.pid !== undefined && killGroup(child.pid);
  const tooLong = setTimeout(kill, TIMEOUT_MS);
  signal.addEventListener('abort', kill);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const status = await new Promise<number | NodeJS.Signals | null>((resolve, reject) =>
    child.once('error', reject).once('close', (code, killedBy) => resolve(killedBy ?? code)),
  ).finally(() => {
    clearTimeout(tooLong);
    signal.removeEventListener('abort', kill);
  });
  signal.throwIfAborted();
  return status === 0 ? null : describe(output, packages);
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Reduces Turborepo's output to the compilers' errors, with paths in the project; without such errors, to its last lines. */
function describe(output: string, packages: readonly Package[]): string {
  const lines = output.split('\n').map((line) => line.trimEnd());
  const said = lines.flatMap((line) => {
    const [, name, text = ''] = /^(\S+):(?:build|bundle): (.*)$/.exec(line) ?? [];
    const folder = packages.find((each) => each.name === name)?.folder;
    if (folder === undefined || text === '' || /^(> |npm error|cache (miss|hit))/.test(text)) return [];
    return text.replace(
      /^(\S.*?)\((\d+),(\d+)\): error (TS\d+: )/,
      (_match, path, row, column, code) => `${join(folder, path)}:${row}:${column}  ${code}`,
    );
  });
  const shown = said.length > 0 ? [...new Set(said)] : lines.filter(Boolean).slice(-MAX_LINES);
  const more = shown.length - MAX_LINES;
  return [...shown.slice(0, MAX_LINES), ...(more > 0 ? [`… ${more} more lines`] : [])].join('\n');
}

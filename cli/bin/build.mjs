#!/usr/bin/env node
// Builds what has changed, and says so when it takes a while. Every script that runs Turborepo runs it through this file,
// which switches its telemetry off.
//   node cli/bin/build.mjs
// @ts-check
import { spawn } from 'node:child_process';
import { existsSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TURBO_ENVIRONMENT, turboProgram } from './turbo.mjs';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const TIMEOUT_MS = 600_000;
/** A check that finds everything built takes less, and is silent. */
const SILENT_MS = 2000;
/** Lines of Turborepo and npm around what a failed task printed. */
const NOISE =
  /^(?: {3}• .*|\S+: (?:cache (?:miss|hit).*|> .*|npm error.*)?|\S+#\S+: {2}ERROR .*| ?(?:Tasks|Cached|Time|Failed): .*| {0,2}(?:Tasks|Cached|Time):.*| ERROR .*|)\n/gm;

/** Whether the project was ever built. */
export const isBuilt = () => existsSync(join(PROJECT, 'cli/dist/start.js'));

/**
 * Runs tasks of turbo.json.
 *
 * @param {readonly string[]} tasks
 * @returns {Promise<{ failed: boolean; output: string }>} what the tasks printed that failed
 */
export async function runTasks(tasks) {
  const child = spawn(turboProgram(), ['run', ...tasks, '--output-logs=errors-only', '--ui=stream'], {
    cwd: PROJECT,
    env: { ...process.env, ...TURBO_ENVIRONMENT },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (chunk) => {
      output += chunk;
    });
  }
  const status = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
  return { failed: status !== 0, output: output.replace(NOISE, '') };
}

/**
 * Brings the build up to date. What it prints goes to standard error: the compiler's errors, and a line when it takes a while.
 *
 * @returns {Promise<boolean>} whether it succeeded
 */
export async function build() {
  const startedAt = performance.now();
  let shown = false;
  const say = (/** @type {string} */ line) => {
    process.stderr.write(`${line}\n`);
    shown = true;
  };
  if (!isBuilt()) say('Building (once, about 20 s) …');
  const timer = setTimeout(() => !shown && say('Building what has changed …'), SILENT_MS);
  const { failed, output } = await runTasks(['build', 'bundle']);
  clearTimeout(timer);
  if (failed) process.stderr.write(output);
  else if (shown) say(`Built in ${((performance.now() - startedAt) / 1000).toFixed(1)} s.`);
  return !failed;
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  if (!(await build())) process.exitCode = 1;
}

// npm run check: what every change must pass before its tests run. Prints a line per step; what a step prints is shown when it fails.
//   node scripts/check.mjs
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTasks } from '../cli/bin/build.mjs';

const PROJECT = fileURLToPath(new URL('../', import.meta.url));

const STEPS = [
  [
    'format and lint',
    installed('biome', 'ci', '--error-on-warnings', `--colors=${process.stdout.isTTY ? 'force' : 'off'}`, '.'),
  ],
  ['imports follow the order of packages and folders', node('scripts/structure.mjs', '--rules')],
  ['build and types', () => runTasks(['build', 'typecheck'])],
  ['no client of the API breaks', node('scripts/check-contract.mjs')],
  ['docs/configuration.md is up to date', node('scripts/document-settings.mjs', '--check')],
  ['docs/errors.md is up to date', node('scripts/document-errors.mjs', '--check')],
  ['docs/architecture.md shows the imports', node('scripts/structure.mjs', '--check')],
  ['no dead code', installed('knip')],
];

for (const [name, run] of STEPS) {
  const startedAt = performance.now();
  const { failed, output } = await run();
  const took = `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
  process.stdout.write(`${failed ? '✗' : '✓'} ${name} (${took})\n`);
  if (!failed) continue;
  process.stderr.write(output);
  process.exit(1);
}

function node(...args) {
  return program(process.execPath, ...args);
}

function installed(name, ...args) {
  return program(join(PROJECT, 'node_modules/.bin', name), ...args);
}

function program(file, ...args) {
  return async () => {
    const child = spawn(file, args, { cwd: PROJECT, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (chunk) => {
        output += chunk;
      });
    }
    const status = await new Promise((resolve, reject) => child.once('error', reject).once('close', resolve));
    return { failed: status !== 0, output };
  };
}

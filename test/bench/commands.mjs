// How long commands take, from Enter to the end of their output, and a start until it is ready; next to those of an earlier clone.
//   node test/bench/commands.mjs [--base <built clone>] [--runs 5]
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const TIMEOUT_MS = 120_000;
/** The folder of each workspace, by the name of its link in `node_modules/@tributary`. */
const workspacesOf = (path) => {
  const linked = join(path, 'node_modules/@tributary');
  return readdirSync(linked).map((name) => [name, relative(path, realpathSync(join(linked, name)))]);
};
const PORTS = ['gateway', 'users', 'products', 'orders'].map((name) => `--${name}-port=0`);
const READY = /Tributary is ready/;

const { values } = parseArgs({
  options: { base: { type: 'string' }, runs: { type: 'string', default: '5' }, help: { type: 'boolean' } },
});
if (values.help) {
  process.stdout.write('node test/bench/commands.mjs [--base <an earlier clone, built>] [--runs <a whole number>]\n');
  process.exit(0);
}
const runs = Number(values.runs);
if (!Number.isInteger(runs) || runs < 1) fail(`--runs: expected a whole number above 0; got "${values.runs}"`);
if (values.base && !existsSync(join(values.base, 'package.json'))) {
  fail(`--base: expected the folder of a clone; got "${values.base}"`);
}

const folder = mkdtempSync(join(tmpdir(), 'tributary-commands-'));
const clones = [...(values.base ? [['before', resolve(values.base)]] : []), ['now', PROJECT]].map(([name, path]) => ({
  name,
  path,
  unbuilt: join(folder, `${name}-unbuilt`),
  dataDir: join(folder, name),
}));
const tributary = (argsOf) => (clone) =>
  run(clone.path, ['run', '--silent', 'tributary', '--', ...argsOf(clone)]).ended;
const operator = (...args) => tributary(({ dataDir }) => [...args, `--data-dir=${dataDir}`]);
const rows = [
  ['npm start -- --help, never built', 1, (clone) => run(clone.unbuilt, ['start', '--', '--help']).ended],
  ['npm start -- --help', runs, (clone) => run(clone.path, ['start', '--', '--help']).ended],
  ['tributary --help', runs, tributary(() => ['--help'])],
  ['tributary lag', runs, operator('lag')],
  ['tributary sagas list', runs, operator('sagas', 'list')],
  ['tributary dead-letters list', runs, operator('dead-letters', 'list')],
  ['tributary token CG-12520', runs, operator('token', 'CG-12520')],
  ['npm start until ready, data imported', runs, (clone) => startAndStop(clone)],
];

try {
  for (const clone of clones) copyUnbuilt(clone);
  for (const clone of clones) await startAndStop(clone);
  const table = [['', ...clones.map(({ name }) => name)]];
  for (const [label, times, measure] of rows) {
    const needsStack = label.startsWith('tributary ') && !label.endsWith('--help');
    const stacks = needsStack ? await Promise.all(clones.map((clone) => startStack(clone))) : [];
    const taken = clones.map(() => []);
    for (let i = 0; i < times; i++) {
      for (const [j, clone] of clones.entries()) {
        const startedAt = performance.now();
        taken[j].push((await measure(clone)) ?? performance.now() - startedAt);
      }
    }
    await Promise.all(stacks.map((stack) => stack.stop()));
    table.push([label, ...taken.map((each) => `${(median(each) / 1000).toFixed(2)} s`)]);
    process.stdout.write(`${table.at(-1).join(' | ')}\n`);
  }
  const width = Math.max(...table.map(([label]) => label.length));
  process.stdout.write(`\nMedians of ${runs} (never built: once), taken in turn.\n`);
  for (const [label, ...cells] of table) {
    process.stdout.write(`${label.padEnd(width)}${cells.map((cell) => cell.padStart(10)).join('')}\n`);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function startStack({ path, dataDir }) {
  const stack = run(path, ['start', '--', `--data-dir=${dataDir}`, ...PORTS]);
  await stack.printed(READY);
  return {
    stop() {
      stack.interrupt();
      return stack.ended.catch(() => undefined);
    },
  };
}

/** @returns how long it took until it was ready, in milliseconds */
async function startAndStop(clone) {
  const startedAt = performance.now();
  const stack = await startStack(clone);
  const took = performance.now() - startedAt;
  await stack.stop();
  return took;
}

/** npm, in a process group of its own, so that what it starts can be interrupted like by Ctrl-C. */
function run(cwd, args) {
  const child = spawn('npm', args, { cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let look = () => undefined;
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk) => {
      output += chunk;
      look();
    });
  }
  const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), TIMEOUT_MS);
  const ended = new Promise((resolve, reject) => {
    child.once('error', reject).once('close', (status) => {
      clearTimeout(timer);
      if (status === 0) resolve();
      else reject(new Error(`npm ${args.join(' ')} in ${cwd} ended with ${status}:\n${output}`));
    });
  });
  const printed = (pattern) =>
    Promise.race([
      ended,
      new Promise((resolve) => {
        look = () => pattern.test(output) && resolve();
        look();
      }),
    ]);
  return { ended, printed, interrupt: () => process.kill(-child.pid, 'SIGINT') };
}

/** The committed files of a clone with its dependencies. */
function copyUnbuilt({ path, unbuilt }) {
  execFileSync('git', ['clone', '--quiet', path, unbuilt]);
  const modules = join(unbuilt, 'node_modules');
  mkdirSync(join(modules, '@tributary'), { recursive: true });
  for (const name of readdirSync(join(path, 'node_modules')).filter((entry) => entry !== '@tributary')) {
    symlinkSync(join(path, 'node_modules', name), join(modules, name));
  }
  for (const [name, folder] of workspacesOf(path))
    symlinkSync(join(unbuilt, folder), join(modules, '@tributary', name));
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

function fail(message) {
  process.stderr.write(`${message}\n`);
  process.exit(1);
}

// The long run of a random suite. `npm run soak -- --help`
import { spawn } from 'node:child_process';
import { readCommandLine, readNumber, readWord, refuse } from '../test/command-line.mjs';

/** By name: the spec file, what its size counts and how large the long run is, and the environment variables that it reads. */
const SUITES = {
  api: {
    about: 'random commands over the public API, nonsense included; then everything is read and added up',
    file: 'test/api/api',
    unit: 'commands',
    size: 20_000,
    env: (size, seed) => ({ API_COMMANDS: size, API_SEED: seed }),
  },
  copies: {
    about: 'changes while services, gateway and NATS are killed; then every copy is compared with its owner',
    file: 'test/events/faults',
    unit: 'changes',
    size: 15_000,
    env: (size, seed) => ({ FAULT_CHANGES: size, FAULT_SEED: seed }),
  },
  dev: {
    about:
      'files are saved under `npm run dev`, some with errors; 10 s later the last state is live or the error shown',
    file: 'test/dev/dev',
    unit: 'edits',
    size: 40,
    env: (size, seed) => ({ DEV_EDITS: size, DEV_SEED: seed }),
  },
  equivalence: {
    about: 'random queries over graphs cut into subgraphs, compared with graphql-js on one schema',
    file: 'gateway/test/equivalence',
    unit: 'queries for each graph',
    size: 1000,
    env: (size, seed) => ({ ENGINE_QUERIES: size, ENGINE_SEED: seed }),
  },
  faults: {
    about: 'orders under faults of every kind; all is healthy 10 s after each, and every account is checked',
    file: 'test/faults/orders',
    unit: 'faults',
    size: 70,
    env: (size, seed) => ({ FAULTS: size, FAULT_SEED: seed }),
  },
  freshness: {
    about:
      'reads and writes through two gateways under delays and faults; no answer may be staler than it was asked to be',
    file: 'test/freshness/consistency',
    unit: 'operations',
    size: 60_000,
    env: (size, seed) => ({ FRESHNESS_OPERATIONS: size, FRESHNESS_SEED: seed }),
  },
  restarts: {
    about: 'orders while `npm start` is killed and started again',
    file: 'test/faults/restarts',
    unit: 'orders',
    size: 600,
    env: (size, seed) => ({ FAULT_ORDERS: size, FAULT_SEED: seed }),
  },
  starts: {
    about:
      'programs are started and stopped at random moments under load; each ends in time, and leaves nothing behind',
    file: 'test/faults/lifecycle',
    unit: 'starts and stops',
    size: 200,
    env: (size, seed) => ({ STARTS: size, FAULT_SEED: seed }),
  },
};
const SEED = 14;

const rows = Object.entries(SUITES).map(
  ([name, { about, unit, size }]) => `  ${name.padEnd(12)} ${about} (${size.toLocaleString('en')} ${unit})`,
);
const HELP = `Usage: npm run soak -- NAME [--seed N[,N…]] [--size N] [--only NAME[,NAME…]] [--report FILE]

Runs the long version of a random suite, once for each seed:

${rows.join('\n')}
  all          all of them, a tenth of each: what continuous integration runs

  --seed N[,N…]  repeats the choices of a run (${SEED}); how operations interleave is not repeated
  --size N       how much of it
  --only NAMES   of "faults": these kinds only (docs/testing.md lists them)
  --report FILE  writes what a run of "faults" came to, as Markdown
`;

/** @returns the exit status of the tests */
function run(name, size, seed, { report, only }) {
  const { file, env, unit } = SUITES[name];
  process.stdout.write(`soak ${name}: ${size} ${unit}, seed ${seed}\n`);
  const settings = Object.entries(env(size, seed)).map(([variable, value]) => [variable, String(value)]);
  const child = spawn('npx', ['vitest', 'run', '--project', 'soak', file], {
    stdio: 'inherit',
    env: {
      ...process.env,
      ...Object.fromEntries(settings),
      ...(report && { FAULT_REPORT: report }),
      ...(only && { FAULT_KINDS: only }),
    },
  });
  return new Promise((resolve) => child.on('exit', (status) => resolve(status ?? 1)));
}

const { values, positionals } = readCommandLine({
  allowPositionals: true,
  options: {
    seed: { type: 'string', default: String(SEED) },
    size: { type: 'string' },
    only: { type: 'string' },
    report: { type: 'string' },
    help: { type: 'boolean', short: 'h', default: false },
  },
});
if (values.help) {
  process.stdout.write(HELP);
  process.exit(0);
}
const [name = '', ...more] = positionals;
readWord('NAME', [name, ...more].join(' '), [...Object.keys(SUITES), 'all']);
const seeds = values.seed
  .split(',')
  .map((seed) =>
    /^\d{1,10}$/.test(seed) ? Number(seed) : refuse(`--seed: expected whole numbers; got ${JSON.stringify(seed)}`),
  );
const size = values.size === undefined ? undefined : readNumber('--size', values.size, { whole: true });
if (name === 'all' && size !== undefined)
  refuse('--size: "all" runs a tenth of each suite; give the size to one of them');
if (name !== 'faults')
  for (const option of ['only', 'report'])
    if (values[option] !== undefined) refuse(`--${option}: expected with "faults" only; got it with "${name}"`);

const failed = [];
for (const suite of name === 'all' ? Object.keys(SUITES) : [name]) {
  for (const seed of seeds) {
    const wanted = size ?? (name === 'all' ? Math.floor(SUITES[suite].size / 10) : SUITES[suite].size);
    if ((await run(suite, wanted, seed, values)) !== 0) failed.push(`${suite} (seed ${seed})`);
  }
}
if (failed.length > 0) process.stderr.write(`failed: ${failed.join(', ')}\n`);
process.exit(failed.length > 0 ? 1 : 0);

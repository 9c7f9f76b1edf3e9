import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, inject, test } from 'vitest';
import { cloneDatabases, type TestDatabases } from '../harness/databases.ts';
import { until } from '../harness/until.ts';

// Wrong settings, arguments, folders and environments, over all programs: each is refused in plain lines within seconds, and leaves
// everything as it was.

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));
const AT_ONCE = 2;
/** Some seconds, on a machine that is busy with other tests. */
const LONGEST_MS = 10_000;
const IS_ROOT = process.getuid?.() === 0;

const PROGRAMS = {
  gateway: 'gateway/dist/main.js',
  users: 'subgraphs/users/dist/main.js',
  products: 'subgraphs/products/dist/main.js',
  orders: 'subgraphs/orders/dist/main.js',
  tributary: 'cli/bin/tributary.mjs',
  load: 'test/load/run.mjs',
  soak: 'scripts/soak.mjs',
  bench: 'test/bench/gateways/run.mjs',
  'bench:growth': 'test/bench/gateways/growth.mjs',
  'bench:copies': 'test/bench/copies.mjs',
  'bench:orders': 'test/bench/orders.mjs',
  'bench:freshness': 'test/bench/freshness.mjs',
  'bench:sizes': 'test/bench/sizes.mjs',
  'bench:parts': 'test/bench/parts.mjs',
} as const;
type Program = keyof typeof PROGRAMS;

interface Row {
  readonly program: Program;
  /** In these, in the environment and in what is expected: BOX is the row's folder, BUSY a port in use, FREE one that is not. */
  readonly args?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Prepares the folder. */
  readonly before?: (box: string) => void;
  readonly status: 1 | 2;
  /** All that is printed on standard error; nothing is printed on standard output. */
  readonly stderr: string;
}

const TIME = 'expected a duration such as 5s or 250ms';
const COUNT = 'expected a whole number, 0 or more';
const SUBGRAPHS = 'expected name=url pairs such as users=http://localhost:4001/graphql';
const HIDDEN = 'got a value that is not shown';
const FILE = 'expected a file that holds the value';
const NO_PATH = `${FILE}; got a path that is not shown (no such file or folder)`;
const SUPERGRAPH = 'expected a file with a composed federation supergraph';
const LAST = 'expected "redis" or a file in a folder that can be written';
const ORIGINS = 'expected origins such as https://shop.example, "localhost" or "*"';
const SCALE = 'expected a share between 0 and 1, or a whole number';
const DATABASE = 'expected a URL such as postgres://role:password@host:5432/database';
const SCENARIOS = 'large, small, delayed, big, distinct, unseen, storefront, history, office';
const HINT = '("--help" lists arguments and options)';
const BUSY_PORT = 'port BUSY is in use. Stop the program that uses it, or choose another port with';

/** Settings of a program that it does not start with. */
function settings(program: Program, env: Record<string, string>, ...problems: string[]): Row {
  const required = program === 'gateway' ? {} : { [`${program.toUpperCase()}_DATABASE_URL`]: 'postgres://a:b@c/d' };
  const stderr = [`${program}: invalid settings`, ...problems.map((problem) => `  ${problem}`)].join('\n');
  return { program, env: { ...required, ...env }, status: 1, stderr };
}

function refused(program: Program, args: string, status: 1 | 2, ...stderr: string[]): Row {
  return { program, args, status, stderr: stderr.join('\n') };
}

const file = (name: string, text: string) => (box: string) => writeFileSync(join(box, name), text);
const folder = (name: string) => (box: string) => mkdirSync(join(box, name), { recursive: true });

function supergraph(path: string, why: string, before: (box: string) => void = () => undefined): Row {
  const stderr = `gateway: SUPERGRAPH_PATH: ${SUPERGRAPH}; got "${path}" (${why})`;
  return {
    program: 'gateway',
    env: { SUPERGRAPH_PATH: path, LOG_LEVEL: 'silent', PORT: '0' },
    before,
    status: 1,
    stderr,
  };
}

function lastSupergraph(path: string, why: string, before: (box: string) => void = () => undefined): Row {
  const stderr = `gateway: SUPERGRAPH_FALLBACK: ${LAST}; got "${path}" (${why})`;
  return { program: 'gateway', env: { SUPERGRAPH_FALLBACK: path, PORT: '0' }, before, status: 1, stderr };
}

function setUp(databaseUrl: string, stderr: string, env: Record<string, string> = {}): Row {
  const given = { USERS_DATABASE_URL: databaseUrl, ...env };
  return { program: 'users', args: 'setup', env: given, status: 1, stderr: `users: ${stderr}` };
}

/** `tributary start` or `dev`, with ports of its own and a folder that is not there. */
function stack(command: 'start' | 'dev', { args = '', ...row }: Partial<Row>, ...stderr: string[]): Row {
  const { env = {} } = row;
  const ports = ['gateway', 'users', 'products', 'orders'].filter(
    (name) => !args.includes(`--${name}-port`) && !(`${name.toUpperCase()}_PORT` in env),
  );
  const given = ['--data-dir BOX/data', ...ports.map((name) => `--${name}-port 0`), args];
  return { program: 'tributary', ...row, args: [command, ...given].join(' '), status: 1, stderr: stderr.join('\n') };
}

/** A command for operators, on a stack of which nothing can be reached. */
function operator(args: string, env: Record<string, string>, ...stderr: string[]): Row {
  const database = (name: string) => `postgres://${name}:hunter2@127.0.0.1:FREE/${name}`;
  const away = {
    USERS_URL: 'http://localhost:FREE',
    PRODUCTS_URL: 'http://localhost:FREE',
    ORDERS_URL: 'http://localhost:FREE',
    USERS_DATABASE_URL: database('users'),
    PRODUCTS_DATABASE_URL: database('products'),
    ORDERS_DATABASE_URL: database('orders'),
  };
  return { program: 'tributary', args, env: { ...away, ...env }, status: 1, stderr: stderr.join('\n') };
}

const databaseAway = (name: string) =>
  `cannot use the database "${name}" of PostgreSQL at 127.0.0.1:FREE (ECONNREFUSED). ` +
  `Start PostgreSQL, or correct ${name.toUpperCase()}_DATABASE_URL.`;
const UNCHECKED = 'money and stock could not be checked in full:';

const ROWS: readonly Row[] = [
  // Settings.
  settings('gateway', { SUBGRAPH_TIMEOUT: '5' }, `SUBGRAPH_TIMEOUT: ${TIME}; got "5"`),
  settings('gateway', { SUBGRAPH_TIMEOUT: '0' }, 'SUBGRAPH_TIMEOUT: expected a duration from 1ms to 1h; got "0"'),
  settings('gateway', { SUBGRAPH_TIMEOUT: '400d' }, 'SUBGRAPH_TIMEOUT: expected a duration from 1ms to 1h; got "400d"'),
  settings('gateway', { SUPERGRAPH_POLL_INTERVAL: '0.5' }, `SUPERGRAPH_POLL_INTERVAL: ${TIME}; got "0.5"`),
  settings('gateway', { SHUTDOWN_DELAY: '1000' }, `SHUTDOWN_DELAY: ${TIME}; got "1000"`),
  settings('gateway', { MAX_STALENESS: 'soon' }, `MAX_STALENESS: ${TIME}; got "soon"`),
  settings('gateway', { MAX_OPERATION_DEPTH: '-1' }, `MAX_OPERATION_DEPTH: ${COUNT}; got "-1"`),
  settings('gateway', { MAX_OPERATION_TOKENS: '1e3' }, `MAX_OPERATION_TOKENS: ${COUNT}; got "1e3"`),
  settings('gateway', { CACHE_MAX_BYTES: '128MB' }, `CACHE_MAX_BYTES: ${COUNT}; got "128MB"`),
  settings('gateway', { CACHE: 'maybe' }, 'CACHE: expected "on" or "off"; got "maybe"'),
  settings('gateway', { EXPLORER: 'YES' }, 'EXPLORER: expected "on" or "off"; got "YES"'),
  settings('gateway', { CORS_ORIGINS: 'foo' }, `CORS_ORIGINS: ${ORIGINS}; got "foo"`),
  settings('gateway', { CORS_ORIGINS: 'https://a.example/' }, `CORS_ORIGINS: ${ORIGINS}; got "https://a.example/"`),
  settings('gateway', { SUBGRAPHS: 'users' }, `SUBGRAPHS: ${SUBGRAPHS}; got "users"`),
  settings('gateway', { SUBGRAPHS: 'a b=http://c' }, `SUBGRAPHS: ${SUBGRAPHS}; got "a b=http://c"`),
  settings('gateway', { SUBGRAPHS: 'a=ftp://b' }, `SUBGRAPHS: ${SUBGRAPHS}; got "a=ftp://b"`),
  settings('gateway', { SUBGRAPHS: 'a=ftp://b:hunter2@c' }, `SUBGRAPHS: ${SUBGRAPHS}; ${HIDDEN}`),
  settings(
    'gateway',
    { SUBGRAPHS: 'a=https://b:hunter2,c@d' },
    `SUBGRAPHS: ${SUBGRAPHS}; ${HIDDEN}`,
    `SUBGRAPHS: ${SUBGRAPHS}; ${HIDDEN}`,
  ),
  settings('gateway', { SUBGRAPHS: ' , ' }, `SUBGRAPHS: ${SUBGRAPHS}; got " , "`),
  settings(
    'gateway',
    { SUBGRAPHS: 'a=http://b,a=http://c' },
    'SUBGRAPHS: expected each name once, not "a" again; got "a=http://c"',
  ),
  settings(
    'gateway',
    { PROPAGATED_HEADERS: 'authorization,host' },
    'PROPAGATED_HEADERS: expected headers that can be forwarded; got "host"',
  ),
  settings(
    'gateway',
    { OVERRIDE_LABELS: 'new=200%' },
    'OVERRIDE_LABELS: expected labels such as new-stock or new-prices=10%; got "new=200%"',
  ),
  settings(
    'gateway',
    { TRUSTED_PROXIES: '10.0.0.0/33' },
    'TRUSTED_PROXIES: expected addresses or networks such as 10.0.0.7 or 172.16.0.0/12; got "10.0.0.0/33"',
  ),
  settings(
    'gateway',
    { NATS_URL: 'localhost:4222' },
    'NATS_URL: expected a URL such as nats://host:4222; got "localhost:4222"',
  ),
  settings(
    'gateway',
    { REDIS_URL: 'http://c:6379' },
    'REDIS_URL: expected a URL such as redis://host:6379; got "http://c:6379"',
  ),
  settings('gateway', { REDIS_PREFIX: 'a*' }, 'REDIS_PREFIX: expected letters, digits and _ . : - only; got "a*"'),
  settings(
    'gateway',
    { SUPERGRAPH_FALLBACK: 'redis' },
    'REDIS_URL: expected a URL such as redis://host:6379 for SUPERGRAPH_FALLBACK=redis; it is not set',
  ),
  settings('gateway', { PROCESSES: 'zero' }, 'PROCESSES: expected "auto" or a number, 1-99; got "zero"'),
  settings('gateway', { PORT: 'abc' }, 'PORT: expected a port, 0-65535; got "abc"'),
  settings('gateway', { GATEWAY_PORT: '70000' }, 'GATEWAY_PORT: expected a port, 0-65535; got "70000"'),
  settings('gateway', { HOST: 'a b' }, 'HOST: expected an address or a name of this machine; got "a b"'),
  settings(
    'gateway',
    { LOG_LEVEL: 'verbose' },
    'LOG_LEVEL: expected one of fatal, error, warn, info, debug, trace, silent; got "verbose"',
  ),
  settings('gateway', { EXPLAIN_TOKEN_FILE: 'hunter2' }, `EXPLAIN_TOKEN_FILE: ${NO_PATH}`),
  settings(
    'users',
    { USERS_DATABASE_URL: '', USERS_DATABASE_URL_FILE: 'postgres://u:hunter2@h/db' },
    `USERS_DATABASE_URL_FILE: ${NO_PATH}`,
  ),
  settings(
    'orders',
    { PRODUCTS_URL: 'ftp://host?api_token=hunter2' },
    `PRODUCTS_URL: expected a URL such as http://localhost:4002; ${HIDDEN}`,
  ),
  settings('gateway', { EXPLAIN_TOKEN_FILE: 'BOX' }, `EXPLAIN_TOKEN_FILE: ${FILE}; got "BOX" (it is a folder)`),
  {
    ...settings(
      'gateway',
      { EXPLAIN_TOKEN_FILE: 'BOX/empty' },
      `EXPLAIN_TOKEN_FILE: ${FILE}; got "BOX/empty" (it is empty)`,
    ),
    before: file('empty', '\n'),
  },
  {
    ...settings(
      'gateway',
      { CACHE: 'no', PORT: 'x', NATS_URL_FILE: 'BOX/none', MAX_OPERATIONS: `${'9'.repeat(99)}` },
      `NATS_URL_FILE: ${FILE}; got "BOX/none" (no such file or folder)`,
      'PORT: expected a port, 0-65535; got "x"',
      'CACHE: expected "on" or "off"; got "no"',
      `MAX_OPERATIONS: ${COUNT}; got "${'9'.repeat(60)}…"`,
    ),
  },
  settings('users', { USERS_DATABASE_URL: '' }, `USERS_DATABASE_URL: ${DATABASE}; it is not set`),
  settings('users', { USERS_DATABASE_URL: 'mysql://a:hunter2@c/d' }, `USERS_DATABASE_URL: ${DATABASE}; ${HIDDEN}`),
  settings('users', { AUTH_SECRET: 'hunter2' }, `AUTH_SECRET: expected at least 32 characters; ${HIDDEN}`),
  settings(
    'users',
    { AUTH_JWKS_URL: 'jwks.json' },
    'AUTH_JWKS_URL: expected a URL such as https://auth.example/.well-known/jwks.json; got "jwks.json"',
  ),
  {
    ...settings(
      'users',
      { INTERNAL_SECRET_FILE: 'BOX/secret' },
      `INTERNAL_SECRET: expected at least 16 characters; ${HIDDEN}`,
    ),
    before: file('secret', 'hunter2\n'),
  },
  settings('products', { RESERVATION_TTL: '15' }, `RESERVATION_TTL: ${TIME}; got "15"`),
  settings(
    'products',
    { ORDERS_URL: 'localhost' },
    'ORDERS_URL: expected a URL such as http://localhost:4003; got "localhost"',
  ),
  settings('orders', { SAGA_STEP_TIMEOUT: '0s' }, 'SAGA_STEP_TIMEOUT: expected a duration from 1ms to 1d; got "0s"'),
  settings('orders', { VERIFY_INTERVAL: '60d' }, 'VERIFY_INTERVAL: expected a duration from 0 to 24d; got "60d"'),
  settings(
    'orders',
    { EVENT_LOG_CONSUMERS: 'users, a b' },
    'EVENT_LOG_CONSUMERS: expected names of services such as users,products; got "a b"',
  ),

  {
    ...settings('gateway', { SUBGRAPH_TIMOUT: '1s', PORT: 'BUSY' }),
    stderr: `gateway: warning: SUBGRAPH_TIMOUT is not a setting; did you mean SUBGRAPH_TIMEOUT?\ngateway: ${BUSY_PORT} GATEWAY_PORT.`,
  },

  // Where programs listen, and the files that they use.
  ...(['gateway', 'users', 'products', 'orders'] as const).map((program) => {
    const port = { [`${program.toUpperCase()}_PORT`]: 'BUSY' };
    return { ...settings(program, port), stderr: `${program}: ${BUSY_PORT} ${program.toUpperCase()}_PORT.` };
  }),
  { ...settings('gateway', { PORT: 'BUSY', PROCESSES: '2' }), stderr: `gateway: ${BUSY_PORT} GATEWAY_PORT.` },
  {
    ...settings('gateway', { HOST: '192.0.2.1', PORT: '0' }),
    stderr: 'gateway: HOST: expected an address or a name of this machine; got "192.0.2.1" (EADDRNOTAVAIL)',
  },
  supergraph('BOX/none', 'no such file or folder'),
  supergraph('BOX', 'it is a folder'),
  supergraph('BOX/empty', 'Syntax Error: Unexpected <EOF>.', file('empty', '')),
  supergraph('BOX/text', 'Syntax Error: Unexpected Name "hello".', file('text', 'hello')),
  supergraph('BOX/api', 'it is the schema of an API or of a subgraph', file('api', 'type Query { a: Int }')),
  lastSupergraph('BOX/none/last', 'BOX/none: no such file or folder'),
  lastSupergraph('BOX/file/last', 'BOX/file: a part of the path is not a folder', file('file', '')),
  lastSupergraph('BOX/home', 'it is a folder'),
  ...(IS_ROOT ? [] : [lastSupergraph('/last', '/: permission denied')]),

  // Databases, for the commands that do not wait for them.
  setUp(
    'postgres://users:hunter2@localhost:FREE/users',
    'cannot use the database "users" of PostgreSQL at localhost:FREE (ECONNREFUSED). Start PostgreSQL, or correct USERS_DATABASE_URL.',
  ),
  setUp(
    'WRONG_PASSWORD',
    'PostgreSQL at SERVER refuses the role "users": password authentication failed for user "users". Correct the password in USERS_DATABASE_URL.',
  ),
  setUp(
    'NO_DATABASE',
    'the database "nothing" does not exist in PostgreSQL at SERVER. Create it, or correct USERS_DATABASE_URL.',
  ),
  setUp(
    'FOREIGN_DATABASE',
    'the role "users" lacks a right in the database "orders": permission denied for database "orders". Make "users" the owner of the database, or correct USERS_DATABASE_URL.',
  ),
  setUp(
    'NEWER_DATABASE',
    'the database "NEWER" was set up by a newer version (it has the migration 9999_future). Run that version, or restore a backup from before the upgrade.',
  ),
  setUp(
    'TLS_DATABASE',
    'PostgreSQL at SERVER does not support TLS. Enable it there, or remove sslmode from USERS_DATABASE_URL.',
  ),
  setUp(
    'FILLED_DATABASE',
    'This database has superstore at scale 1; expected 2. Start with an empty database to change it.',
    { SUPERSTORE_SCALE: '2' },
  ),
  setUp(
    'postgres://a@b/c',
    'invalid settings\n  SUPERSTORE_SCALE: expected 0, a fraction up to 1, or a whole number; got "many"',
    { SUPERSTORE_SCALE: 'many' },
  ),
  {
    ...settings('orders', { ORDERS_DATABASE_URL: 'postgres://orders:hunter2@localhost:FREE/orders' }),
    args: 'rebuild',
    stderr:
      'orders: cannot use the database "orders" of PostgreSQL at localhost:FREE (ECONNREFUSED). Start PostgreSQL, or correct ORDERS_DATABASE_URL.',
  },

  // The local stack: settings, arguments, folders.
  stack(
    'start',
    {
      env: { MAX_STALENESS: 'soon', CACHE: 'maybe', PROPAGATED_HEADERS: 'host', SAGA_STEP_TIMEOUT: '3', HOST: 'a b' },
    },
    'Invalid settings:',
    '  CACHE: expected "on" or "off"; got "maybe"',
    `  MAX_STALENESS: ${TIME}; got "soon"`,
    '  PROPAGATED_HEADERS: expected headers that can be forwarded; got "host"',
    '  HOST: expected an address or a name of this machine; got "a b"',
    `  SAGA_STEP_TIMEOUT: ${TIME}; got "3"`,
  ),
  stack(
    'start',
    {
      args: '--gateway-port x --scale y --log-level z --users-port BUSY --data-dir BOX/file',
      env: { CACHE: 'maybe', RESERVATION_TTL: 'x', ORDERS_PORT: 'x' },
      before: file('file', 'x'),
    },
    'Invalid settings:',
    '  --gateway-port: expected a port, 0-65535; got "x"',
    `  --scale: ${SCALE}; got "y"`,
    '  --log-level: expected one of error, warn, info, debug; got "z"',
    '  ORDERS_PORT (--orders-port): expected a port, 0-65535; got "x"',
    '  CACHE: expected "on" or "off"; got "maybe"',
    `  RESERVATION_TTL: ${TIME}; got "x"`,
    '  --users-port: expected a free port; got BUSY, which is in use',
    '  --data-dir: expected a folder that can be written; got BOX/file (it is a file)',
  ),
  stack(
    'start',
    {
      env: {
        SUBGRAPHS: 'x',
        SUPERGRAPH_PATH: 'BOX/none',
        NATS_URL: 'x',
        PROCESSES: 'x',
        ORDERS_DATABASE_URL: 'x',
        CACHE: 'no',
      },
    },
    'Warning: start ignores SUBGRAPHS, SUPERGRAPH_PATH, ORDERS_DATABASE_URL, PROCESSES, NATS_URL.',
    'Invalid settings:',
    '  CACHE: expected "on" or "off"; got "no"',
  ),
  stack(
    'dev',
    { env: { SHUTDOWN_DELAY: '1', RESERVATION_TTL: 'soon' } },
    'Invalid settings:',
    `  SHUTDOWN_DELAY: ${TIME}; got "1"`,
    `  RESERVATION_TTL: ${TIME}; got "soon"`,
  ),
  stack(
    'start',
    { env: { HOST: '192.0.2.1', SUPERGRAPH_FALLBACK: 'BOX/none/last' } },
    'Invalid settings:',
    `  SUPERGRAPH_FALLBACK: ${LAST}; got "BOX/none/last" (BOX/none: no such file or folder)`,
    '  HOST: expected an address or a name of this machine; got "192.0.2.1" (EADDRNOTAVAIL)',
  ),
  stack(
    'start',
    { args: '--users-port FREE --postgres-port FREE' },
    'Invalid settings:',
    '  --postgres-port: expected a port of its own; got FREE, the port of users',
  ),
  stack(
    'start',
    { args: '--users-port BUSY' },
    'Invalid settings:',
    '  --users-port: expected a free port; got BUSY, which is in use',
  ),
  stack(
    'start',
    { args: '--users-port -1' },
    'Invalid settings:',
    '  --users-port: expected a port, 0-65535; got "-1"',
  ),
  stack(
    'dev',
    { env: { ORDERS_PORT: 'x' } },
    'Invalid settings:',
    '  ORDERS_PORT (--orders-port): expected a port, 0-65535; got "x"',
  ),
  stack('start', { args: '--scale 1.5' }, 'Invalid settings:', `  --scale: ${SCALE}; got "1.5"`),
  stack(
    'start',
    { env: { LOG_LEVEL: 'loud' } },
    'Invalid settings:',
    '  LOG_LEVEL (--log-level): expected one of error, warn, info, debug; got "loud"',
  ),
  stack(
    'start',
    { args: '--data-dir BOX/file', before: file('file', 'x') },
    'Invalid settings:',
    '  --data-dir: expected a folder that can be written; got BOX/file (it is a file)',
  ),
  stack(
    'dev',
    { args: '--data-dir BOX/file/data', before: file('file', 'x') },
    'Invalid settings:',
    '  --data-dir: expected a folder that can be written; got BOX/file/data (a part of the path is a file)',
  ),
  ...(IS_ROOT
    ? [
        stack(
          'start',
          { args: '--data-dir /proc/data' },
          '--data-dir: expected a folder that can be written; got /proc/data (it cannot be created)',
        ),
      ]
    : []),
  stack('start', { args: '--data-dir=' }, 'Invalid settings:', '  --data-dir: expected a folder; got ""'),
  ...['lag', 'token CG-12520'].map((command) =>
    refused('tributary', `${command} --data-dir=`, 1, 'Invalid settings:', '  --data-dir: expected a folder; got ""'),
  ),
  ...['', ' --fresh'].map((fresh) =>
    stack(
      'start',
      { args: `--data-dir BOX/cwd${fresh}`, before: file('cwd/thesis.txt', 'x') },
      'Invalid settings:',
      '  --data-dir: expected a new or empty folder, or one with data of Tributary; got BOX/cwd, which holds thesis.txt',
    ),
  ),
  stack(
    'start',
    { args: '--data-dir BOX/cwd', env: { HOME: '', TMPDIR: 'BOX/none' }, before: file('cwd/thesis.txt', 'x') },
    'Invalid settings:',
    '  --data-dir: expected a new or empty folder, or one with data of Tributary; got BOX/cwd, which holds thesis.txt',
  ),
  refused('tributary', 'start --colour', 1, "error: unknown option '--colour'", HINT),
  refused('tributary', 'begin', 1, "error: unknown command 'begin'", HINT),
  refused('tributary', 'sagas retry', 1, "error: missing required argument 'order'", HINT),
  refused('tributary', 'rebuild all', 1, 'model: expected one of orders, products, users; got "all"'),
  refused('tributary', 'dead-letters discard a b 0', 1, 'position: expected a whole number above 0; got "0"'),
  refused(
    'tributary',
    'token CG-12520',
    1,
    'BOX/cwd/.data/secrets.json holds no secrets of a stack. Run "npm start" first, or "npm start -- --fresh".',
  ),
  operator('sagas list', {}, databaseAway('orders')),
  operator('sagas retry 1', {}, databaseAway('orders')),
  operator('sagas resolve 1 --note done', {}, databaseAway('orders')),
  operator('dead-letters list', {}, databaseAway('users')),
  operator('dead-letters retry', {}, databaseAway('users')),
  operator('dead-letters discard products orders 3', {}, databaseAway('products')),
  operator('rebuild users', {}, databaseAway('orders')),
  operator('rebuild orders', {}, databaseAway('orders')),
  operator(
    'verify',
    // `fetch` of Node refuses this port at once, so that it is always the first to fail.
    { USERS_URL: 'http://localhost:1', PRODUCTS_URL: 'http://localhost:1' },
    `it could not be checked how far users has read orders: ${databaseAway('users')}`,
    `it could not be checked how far products has read orders: ${databaseAway('products')}`,
    `the copy of users could not be compared: ${databaseAway('orders')}`,
    `the copy of products could not be compared: ${databaseAway('orders')}`,
    `${UNCHECKED} the checks of users: http://localhost:1 cannot be reached: bad port`,
    `${UNCHECKED} the checks of products: http://localhost:1 cannot be reached: bad port`,
    `${UNCHECKED} the checks of orders: the database does not answer: connect ECONNREFUSED 127.0.0.1:FREE`,
    `${UNCHECKED} payments against orders: http://localhost:1 cannot be reached: bad port`,
    `${UNCHECKED} reservations against orders: http://localhost:1 cannot be reached: bad port`,
  ),
  operator(
    'lag',
    {},
    ...['users', 'products', 'orders'].map(
      (name) => `Cannot read the lag of ${name} at http://localhost:FREE (ECONNREFUSED).`,
    ),
  ),
  operator(
    'lag',
    { USERS_URL: 'htp://localhost:FREE', PRODUCTS_URL: '', ORDERS_DATABASE_URL: 'users:hunter2@localhost' },
    'Invalid settings:',
    '  USERS_URL: expected a URL such as http://localhost:4001; got "htp://localhost:FREE"',
    '  PRODUCTS_URL: expected a URL such as http://localhost:4002; it is not set',
    `  ORDERS_DATABASE_URL: ${DATABASE}; ${HIDDEN}`,
    'Set all that lead to a stack, or none of them for that of the data folder.',
  ),

  // Command lines of programs and tools.
  refused(
    'gateway',
    'destroy',
    2,
    'gateway: expected one command of serve, compose; got "destroy". --help describes them.',
  ),
  refused(
    'orders',
    'serve now',
    2,
    'orders: expected one command of serve, setup, rebuild; got "serve now". --help describes them.',
  ),
  refused('load', '--clients 5 --rate 5', 2, '--clients and --rate: expected only one of them'),
  refused('load', '--ramp --duration 5', 2, '--duration and --ramp: expected only one of them'),
  refused('load', '--clients 1.5', 2, '--clients: expected a whole number above 0, up to 10000; got "1.5"'),
  refused(
    'load',
    '--scenario constructor',
    2,
    '--scenario: expected one of storefront, history, office, checkout, hot; got "constructor"',
  ),
  refused('load', '--url ftp://a', 2, '--url: expected a URL such as http://localhost:4000; got "ftp://a"'),
  refused('load', '--colour', 2, "Unknown option '--colour'. --help lists the options."),
  refused(
    'load',
    '--report BOX/none/report.html',
    2,
    '--report: expected a file in a folder that can be written; got "BOX/none/report.html"',
  ),
  refused(
    'load',
    '--url http://localhost:FREE',
    1,
    'Cannot use the gateway at http://localhost:FREE (ECONNREFUSED). Start the stack with npm start, or correct --url.',
  ),
  refused(
    'soak',
    'everything',
    2,
    /** Suites may be added. */
    'NAME: expected one of SUITES; got "everything"',
  ),
  refused('soak', 'api --size 0', 2, '--size: expected a whole number above 0; got "0"'),
  refused('bench', '--seconds none', 2, '--seconds: expected a number above 0; got "none"'),
  refused('bench', '--queries small,tiny', 2, `--queries: expected one of ${SCENARIOS}; got "tiny"`),
  {
    ...refused('bench', '--only x', 2, 'HIVE_ROUTER_BIN: expected a program; got "/nothing" (ENOENT)'),
    env: { HIVE_ROUTER_BIN: '/nothing' },
  },
  refused('bench:growth', 'x', 2, 'seconds: expected a number above 0; got "x"'),
  refused('bench:copies', '1 2 3 4', 2, 'expected at most these arguments: rate, seconds, backlog'),
  refused('bench:orders', '--proceses', 2, "Unknown option '--proceses'. --help lists the options."),
  refused('bench:freshness', '--peers some', 2, '--peers: expected one of on, off; got "some"'),
  refused('bench:sizes', '--scales 1,big', 2, '--scales: expected a number above 0; got "big"'),
  refused('bench:parts', '--requests 0', 2, '--requests: expected a whole number above 0; got "0"'),
];

let databases: TestDatabases;
let busy: Server;
let words: ReadonlyMap<string, string>;
let outcomes: readonly Promise<Outcome>[] = [];

beforeAll(async () => {
  databases = await cloneDatabases();
  await databases.query('users', "insert into kysely_migration values ('9999_future', '2030-01-01')");
  busy = createServer().listen(0, 'localhost');
  const free = createServer().listen(0, 'localhost');
  await Promise.all([busy, free].map((server) => once(server, 'listening')));
  const portOf = (server: Server) => String((server.address() as { port: number }).port);
  const freePort = portOf(free);
  await new Promise((resolve) => free.close(resolve));
  words = wordsOf(portOf(busy), freePort);
  outcomes = runAll();
});

afterAll(async () => {
  await Promise.allSettled(outcomes);
  busy?.close();
  await databases?.drop();
});

test('there are enough of them', () => {
  expect(ROWS.length).toBeGreaterThanOrEqual(60);
});

test.each(ROWS.map((row, i) => [nameOf(row), i] as const))(
  '%s',
  async (_name, i) => {
    const { stdout, stderr, status, tookMs, box, remains, changes } = (await outcomes[i]) as Outcome;
    const expected = replaceWords((ROWS[i] as Row).stderr, box);
    expect(stderr.replace(/NAME: expected one of [\w, ]+;/, 'NAME: expected one of SUITES;').trimEnd()).toBe(expected);
    expect(stdout).toBe('');
    expect(status).toBe((ROWS[i] as Row).status);
    expect(stderr).not.toMatch(/^ {4}at |hunter2/m);
    expect(changes).toEqual([]);
    expect(remains, 'processes are left').toBe(false);
    expect(tookMs).toBeLessThan(LONGEST_MS);
  },
  120_000,
);

interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
  readonly status: number | NodeJS.Signals | null;
  readonly tookMs: number;
  readonly box: string;
  /** Whether a process of it still runs. */
  readonly remains: boolean;
  /** Files that were created, changed or deleted. */
  readonly changes: readonly string[];
}

/** Runs all rows, a few at once, in order. */
function runAll(): Promise<Outcome>[] {
  const lanes: Promise<unknown>[] = Array.from({ length: AT_ONCE }, () => Promise.resolve());
  return ROWS.map((row, i) => {
    const outcome = (lanes[i % AT_ONCE] as Promise<unknown>).then(() => run(row));
    lanes[i % AT_ONCE] = outcome.catch(() => undefined);
    return outcome;
  });
}

/** Runs a row in a folder of its own, which is also its home and its place for temporary files. */
async function run({ program, args = '', env = {}, before }: Row): Promise<Outcome> {
  const box = mkdtempSync(join(tmpdir(), 'tributary-wrong-'));
  try {
    for (const name of ['cwd', 'home', 'tmp']) folder(name)(box);
    before?.(box);
    const earlier = filesIn(box);
    const given = Object.entries(env).map(([name, value]) => [name, replaceWords(value, box)]);
    const startedAt = performance.now();
    const child = spawn(
      process.execPath,
      [join(PROJECT, PROGRAMS[program]), ...args.split(' ').flatMap((arg) => replaceWords(arg, box) || [])],
      {
        cwd: join(box, 'cwd'),
        env: {
          PATH: process.env.PATH,
          HOME: join(box, 'home'),
          TMPDIR: join(box, 'tmp'),
          NODE_DISABLE_COMPILE_CACHE: '1',
          ...Object.fromEntries(given),
        },
        stdio: ['ignore', 'pipe', 'pipe'],
        // A group of its own, in which processes are found that it leaves behind.
        detached: true,
        timeout: 2 * LONGEST_MS,
        killSignal: 'SIGKILL',
      },
    );
    const printed = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (chunk: string) => {
        printed[stream] += chunk;
      });
    }
    const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    const tookMs = performance.now() - startedAt;
    const later = filesIn(box);
    const changes = [...new Set([...earlier.keys(), ...later.keys()])].filter(
      (path) => earlier.get(path) !== later.get(path),
    );
    return {
      ...printed,
      status: signal ?? status,
      tookMs,
      box,
      remains: await remainsOf(child.pid as number),
      changes,
    };
  } finally {
    rmSync(box, { recursive: true, force: true });
  }
}

/** Whether processes of a group still run a moment after its first one ended; they are killed. */
async function remainsOf(pid: number): Promise<boolean> {
  const runs = (signal: 0 | 'SIGKILL') => {
    try {
      return process.kill(-pid, signal);
    } catch {
      return false;
    }
  };
  await until(
    async () => runs(0),
    (remains) => !remains,
    2000,
  ).catch(() => undefined);
  return runs('SIGKILL');
}

/** Every file and folder below a folder, with what is in it. */
function filesIn(top: string): Map<string, string> {
  const paths = readdirSync(top, { recursive: true, encoding: 'utf8' });
  return new Map(
    paths.map((path) => {
      const { mode } = lstatSync(join(top, path));
      const isFile = lstatSync(join(top, path)).isFile();
      const content = isFile
        ? createHash('sha256')
            .update(readFileSync(join(top, path)))
            .digest('hex')
        : '';
      return [path, `${mode} ${content}`];
    }),
  );
}

/** What words in rows stand for. */
function wordsOf(busyPort: string, freePort: string): ReadonlyMap<string, string> {
  const server = new URL(inject('postgresUrl'));
  const url = (name: string, change: (url: URL) => void) => {
    const changed = new URL(databases.urls.users);
    change(changed);
    return [name, changed.href] as const;
  };
  return new Map([
    url('WRONG_PASSWORD', (changed) => {
      changed.password = 'hunter2';
    }),
    url('NO_DATABASE', (changed) => {
      changed.pathname = '/nothing';
    }),
    url('FOREIGN_DATABASE', (changed) => {
      changed.pathname = '/orders';
    }),
    url('NEWER_DATABASE', () => undefined),
    url('FILLED_DATABASE', (changed) => {
      changed.pathname = '/users';
    }),
    url('TLS_DATABASE', (changed) => changed.searchParams.set('sslmode', 'no-verify')),
    ['NEWER', new URL(databases.urls.users).pathname.slice(1)],
    ['SERVER', `${server.hostname}:${server.port}`],
    ['BUSY', busyPort],
    ['FREE', freePort],
  ]);
}

function replaceWords(text: string, box: string): string {
  let replaced = text.replaceAll('BOX', box);
  for (const [word, meaning] of words) replaced = replaced.replaceAll(new RegExp(`\\b${word}\\b`, 'g'), meaning);
  return replaced;
}

function nameOf({ program, args, env = {} }: Row): string {
  const given = Object.entries(env).map(([name, value]) => `${name}=${value.slice(0, 40)}`);
  return [...given, program, args].filter(Boolean).join(' ');
}

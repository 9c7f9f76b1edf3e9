// The gateways that are compared: how each is started over a supergraph file. Peers come from npm, once; Hive Router, a program
// of its own, from where HIVE_ROUTER_BIN says.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const PROJECT = fileURLToPath(new URL('../../../', import.meta.url));
const FOLDER = join(PROJECT, 'node_modules/.cache/tributary-peers');
const PACKAGES = {
  '@apollo/gateway': '~2.14.0',
  '@apollo/server': '^5.5.1',
  '@graphql-hive/gateway': '^2.15.1',
  '@graphql-hive/router-runtime': '^1.4.23',
  graphql: '^16.15.0',
  node: '^24.21.0',
};

const APOLLO = `import { readFileSync } from 'node:fs';
import { ApolloGateway } from '@apollo/gateway';
import { ApolloServer } from '@apollo/server';
import { startStandaloneServer } from '@apollo/server/standalone';
const supergraphSdl = readFileSync(process.env.SUPERGRAPH_PATH, 'utf8');
const server = new ApolloServer({ gateway: new ApolloGateway({ supergraphSdl }) });
await startStandaloneServer(server, { listen: { port: Number(process.env.PORT) } });
`;
const HIVE = `import { defineConfig } from '@graphql-hive/gateway';
import { unifiedGraphHandler } from '@graphql-hive/router-runtime';
export const gatewayConfig = defineConfig({
  supergraph: process.env.SUPERGRAPH_PATH,
  port: Number(process.env.PORT),
  host: '127.0.0.1',
  fork: false,
  logging: 'error',
  ...(process.env.RUST ? { unifiedGraphHandler } : {}),
  ...(process.env.DEDUPLICATE ? { inboundInflightRequestDeduplication: true } : {}),
});
`;

/** What Hive Router deduplicates: its traffic_shaping, by `deduplicates` of a contender. */
const HIVE_ROUTER_MODES = {
  nothing: { all: { dedupe_enabled: false } },
  fetches: {},
  clients: { router: { dedupe: { enabled: true } } },
};

const hive = (deduplicates, env) => ({
  isFromNpm: true,
  deduplicates,
  command: ['node_modules/@graphql-hive/gateway/dist/bin.js', 'supergraph', '-c', 'hive.config.mjs'],
  env,
});
const ours = (deduplicates, env) => ({ deduplicates, command: [join(PROJECT, 'gateway/dist/main.js')], env });

/**
 * By name; the first is what the others are compared with. `command` is run by Node, unless there is a `binary`; `deduplicates`
 * says what requests in flight share: nothing, fetches, or (clients) whole answers.
 */
export const CONTENDERS = {
  '@apollo/gateway': { isFromNpm: true, deduplicates: 'nothing', command: ['apollo.mjs'], env: {} },
  'Hive gateway': hive('fetches', {}),
  'Hive gateway, Rust planner': hive('fetches', { RUST: '1' }),
  'Hive gateway, Rust planner, deduplication': hive('clients', { RUST: '1', DEDUPLICATE: '1' }),
  'Tributary, no deduplication': ours('nothing', {
    CLIENT_QUERY_DEDUPLICATION: 'off',
    SUBGRAPH_FETCH_DEDUPLICATION: 'off',
  }),
  'Tributary, fetches deduplicated': ours('fetches', { CLIENT_QUERY_DEDUPLICATION: 'off' }),
  'Tributary, clients deduplicated, too': ours('clients', {}),
};

/** Hive Router in its three modes. @throws when the file is none that can be run */
export function hiveRouters(file) {
  const binary = resolve(file);
  accessSync(binary, constants.X_OK);
  const mode = (deduplicates) => {
    const env = { ROUTER_CONFIG_FILE_PATH: `hive-router-${deduplicates}.json`, HOST: '127.0.0.1' };
    return { isHiveRouter: true, deduplicates, binary, command: [], env };
  };
  return {
    'Hive Router, no deduplication': mode('nothing'),
    'Hive Router, fetches deduplicated': mode('fetches'),
    'Hive Router, clients deduplicated, too': mode('clients'),
  };
}

/** Installs the peers, unless they are there. */
export function installPeers() {
  mkdirSync(FOLDER, { recursive: true });
  const manifest = {
    private: true,
    type: 'module',
    dependencies: PACKAGES,
    overrides: { '@graphql-tools/batch-execute': '10.2.0' },
  };
  writeFileSync(join(FOLDER, 'package.json'), JSON.stringify(manifest, null, 2));
  writeFileSync(join(FOLDER, 'apollo.mjs'), APOLLO);
  writeFileSync(join(FOLDER, 'hive.config.mjs'), HIVE);
  if (existsSync(join(FOLDER, 'node_modules/@graphql-hive/router-runtime')) && existsSync(nodeBinary())) return;
  const options = { cwd: FOLDER, stdio: ['ignore', 'ignore', 'inherit'] };
  for (const args of [
    ['install', '--no-audit', '--no-fund'],
    ['rebuild', '--foreground-scripts', 'node'],
  ]) {
    if (spawnSync('npm', args, options).status !== 0) throw new Error(`npm ${args[0]} of the peers failed.`);
  }
}

/** Node 24, which comes with the peers; the Node that runs this when it does not. */
export function nodeBinary() {
  const binary = join(FOLDER, 'node_modules/node/bin/node');
  return existsSync(binary) ? binary : process.execPath;
}

/** The version of that Node. */
export const nodeVersion = () => spawnSync(nodeBinary(), ['-v'], { encoding: 'utf8' }).stdout.trim();

const canPin = cpus().length > 1 && spawnSync('taskset', ['-V'], { stdio: 'ignore' }).status === 0;

/** Runs Node on one core, where that can be said; on any, when it is null. */
export function startNode(core, args, env) {
  return startPinned(core, [nodeBinary(), ...args], env);
}

/** Runs one of the gateways. */
export function startContender(core, { binary = nodeBinary(), command, env, isHiveRouter }, { port, supergraph }) {
  mkdirSync(FOLDER, { recursive: true });
  if (isHiveRouter) {
    for (const [name, traffic_shaping] of Object.entries(HIVE_ROUTER_MODES))
      writeFileSync(join(FOLDER, `hive-router-${name}.json`), JSON.stringify({ traffic_shaping }));
  }
  // Hive Router has a name of its own for the supergraph.
  const where = { PORT: String(port), SUPERGRAPH_PATH: supergraph, SUPERGRAPH_FILE_PATH: supergraph };
  return startPinned(core, [binary, ...command], { ...env, ...where });
}

function startPinned(core, args, env) {
  const pinned = canPin && core !== null ? ['taskset', '-c', String(core)] : [];
  const [command, ...rest] = [...pinned, ...args];
  mkdirSync(FOLDER, { recursive: true });
  const child = spawn(command, rest, {
    cwd: FOLDER,
    env: { PATH: process.env.PATH, NODE_ENV: 'production', LOG_LEVEL: 'error', ...env },
    stdio: ['ignore', 'ignore', process.env.VERBOSE ? 'inherit' : 'ignore'],
    detached: true,
  });
  const stop = () => {
    running.delete(stop);
    try {
      process.kill(-child.pid, 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  };
  running.add(stop);
  /** Rejects when it ends, or cannot be started. */
  const ended = new Promise((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      reject(new Error(`it ended (${signal ?? code}); VERBOSE=1 shows what it prints`)),
    );
  });
  ended.catch(() => undefined);
  return { pid: child.pid, stop, ended };
}

const running = new Set();
process.on('exit', () => {
  for (const stop of running) stop();
});

/** Puts this process, which makes the load, on a core. */
export function pinSelf(core) {
  if (canPin) spawnSync('taskset', ['-a', '-cp', String(core), String(process.pid)], { stdio: 'ignore' });
  return canPin;
}

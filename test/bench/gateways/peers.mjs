// The gateways that are compared: how each is started over a supergraph file. Peers come from npm, once.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
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

const hive = (env) => ({
  command: ['node_modules/@graphql-hive/gateway/dist/bin.js', 'supergraph', '-c', 'hive.config.mjs'],
  env,
});
const ours = (env) => ({ command: [join(PROJECT, 'gateway/dist/main.js')], env });

/** By name; the first is what the others are compared with. */
export const CONTENDERS = {
  '@apollo/gateway': { command: ['apollo.mjs'], env: {} },
  'Hive gateway': hive({}),
  'Hive gateway, Rust planner': hive({ RUST: '1' }),
  'Hive gateway, Rust planner, deduplication': hive({ RUST: '1', DEDUPLICATE: '1' }),
  'Tributary, no deduplication': ours({ CLIENT_QUERY_DEDUPLICATION: 'off', SUBGRAPH_FETCH_DEDUPLICATION: 'off' }),
  'Tributary, fetches deduplicated': ours({ CLIENT_QUERY_DEDUPLICATION: 'off' }),
  'Tributary, clients deduplicated, too': ours({}),
};

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

const canPin = spawnSync('taskset', ['-V'], { stdio: 'ignore' }).status === 0;

/** Runs Node on one core, where that can be said; on any, when it is null. */
export function startNode(core, args, env) {
  const pinned = canPin && core !== null ? ['taskset', '-c', String(core)] : [];
  const [command, ...rest] = [...pinned, nodeBinary(), ...args];
  mkdirSync(FOLDER, { recursive: true });
  const child = spawn(command, rest, {
    cwd: FOLDER,
    env: { PATH: process.env.PATH, NODE_ENV: 'production', LOG_LEVEL: 'error', ...env },
    stdio: ['ignore', 'ignore', process.env.VERBOSE ? 'inherit' : 'ignore'],
    detached: true,
  });
  return {
    pid: child.pid,
    stop: () => {
      try {
        process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It ended by itself.
      }
    },
  };
}

/** Puts this process, which makes the load, on a core. */
export function pinSelf(core) {
  if (canPin) spawnSync('taskset', ['-a', '-cp', String(core), String(process.pid)], { stdio: 'ignore' });
  return canPin;
}

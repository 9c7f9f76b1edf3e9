import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startLocalData } from './local-stack.js';
import type { StartOptions } from './start.js';
import { aborted, listenForStop, unlessStopped } from './stop-signal.js';
import { UserError } from './user-error.js';

const PROJECT = resolve(fileURLToPath(import.meta.url), '../../..');

/**
 * Runs the stack for somebody who changes it: every part in a process of its own that restarts when its build changes,
 * and the build running along. PostgreSQL stays up.
 */
export async function runDev(options: StartOptions): Promise<void> {
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const { gatewayPort, usersPort, productsPort, ordersPort } = options;
  if ([gatewayPort, usersPort, productsPort, ordersPort].includes(0)) {
    throw new UserError('"npm run dev" wants ports that stay the same: give a number above 0 for each.');
  }
  const stopped = listenForStop();
  const data = await unlessStopped(stopped, startLocalData(options, say, stopped));
  if (!data) process.exit(0);
  const children: ChildProcess[] = [];
  const run = (args: readonly string[], env: NodeJS.ProcessEnv = {}) => {
    const child = spawn(process.execPath, args, {
      cwd: PROJECT,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    children.push(child);
  };
  // In processes of their own and without NATS, events travel by the ledgers alone; so these are looked at often.
  const shared = {
    LOG_LEVEL: options.logLevel,
    INTERNAL_SECRET: data.internalSecret,
    ORDERS_URL: `http://localhost:${ordersPort}`,
    EVENT_POLL_INTERVAL: '100ms',
  };
  const service = (folder: string, env: NodeJS.ProcessEnv) =>
    run(['--watch', '--watch-preserve-output', join(folder, 'dist/main.js')], { ...shared, ...env });
  const subgraphUrl = (name: string, port: number) => `${name}=http://localhost:${port}/graphql`;

  run([turboProgram(), 'watch', 'build', 'bundle', '--output-logs=errors-only']);
  service('subgraphs/users', {
    USERS_PORT: String(options.usersPort),
    USERS_DATABASE_URL: data.databaseUrls.users,
    AUTH_SECRET: data.tokenSecret,
  });
  service('subgraphs/products', {
    PRODUCTS_PORT: String(options.productsPort),
    PRODUCTS_DATABASE_URL: data.databaseUrls.products,
  });
  service('subgraphs/orders', {
    ORDERS_PORT: String(options.ordersPort),
    ORDERS_DATABASE_URL: data.databaseUrls.orders,
    USERS_URL: `http://localhost:${usersPort}`,
    PRODUCTS_URL: `http://localhost:${productsPort}`,
  });
  service('gateway', {
    GATEWAY_PORT: String(options.gatewayPort),
    SUPERGRAPH_POLL_INTERVAL: '1s',
    SUBGRAPHS: [
      subgraphUrl('users', options.usersPort),
      subgraphUrl('products', options.productsPort),
      subgraphUrl('orders', options.ordersPort),
    ].join(),
  });
  data.noteUrls({
    users: `http://localhost:${usersPort}`,
    products: `http://localhost:${productsPort}`,
    orders: `http://localhost:${ordersPort}`,
  });
  say(`\nWatching for changes. Graph: http://localhost:${options.gatewayPort}/graphql   Ctrl-C stops everything.\n`);

  await Promise.race([aborted(stopped), data.ended]);
  const ended = children.map((child) => new Promise((done) => child.once('exit', done)));
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(ended);
  await data.stop();
  process.exit(0);
}

function turboProgram(): string {
  const manifest = createRequire(join(PROJECT, 'package.json')).resolve('turbo/package.json');
  return join(dirname(manifest), 'bin/turbo');
}

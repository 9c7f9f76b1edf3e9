// Stacks to measure, in processes apart from the load.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { findServices, freePort, startLocalData } from '@tributary/cli';
import { connect } from 'nats';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

/** The whole stack in one process, as `npm start` runs it. */
export async function startWhole({ scale = 1, env = {} } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
  const ports = ['gateway', 'users', 'products', 'orders'].flatMap((name) => [`--${name}-port`, '0']);
  const child = run('cli/bin/tributary.mjs', ['start', '--data-dir', folder, '--scale', String(scale), ...ports], env);
  const url = await printed(child, /Graph +(http:\S+)\/graphql/);
  return {
    url,
    folder,
    pid: child.pid,
    async stop() {
      await end(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A process per service, events over NATS (`nats-server` must be installed). */
export async function startProcesses() {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
  const [natsPort, users, products, orders, gateway] = await Promise.all(Array.from({ length: 5 }, freePort));
  const data = await startLocalData(
    await findServices(),
    { dataDir: join(folder, 'data'), postgresPort: 0, scale: 1, fresh: false },
    () => undefined,
    new AbortController().signal,
  );
  const nats = spawn('nats-server', ['-a', '127.0.0.1', '-p', String(natsPort), '-js', '-sd', join(folder, 'nats')], {
    stdio: 'ignore',
  });
  const NATS_URL = `nats://127.0.0.1:${natsPort}`;
  await again(async () => (await connect({ servers: NATS_URL, reconnect: false })).close());
  const shared = {
    NATS_URL,
    LOG_LEVEL: 'warn',
    USERS_URL: `http://localhost:${users}`,
    PRODUCTS_URL: `http://localhost:${products}`,
    ORDERS_URL: `http://localhost:${orders}`,
    USERS_PORT: users,
    PRODUCTS_PORT: products,
    ORDERS_PORT: orders,
    USERS_DATABASE_URL: data.databaseUrls.users,
    PRODUCTS_DATABASE_URL: data.databaseUrls.products,
    ORDERS_DATABASE_URL: data.databaseUrls.orders,
    GATEWAY_PORT: gateway,
    SUBGRAPHS: `users=http://localhost:${users}/graphql,products=http://localhost:${products}/graphql,orders=http://localhost:${orders}/graphql`,
  };
  const entries = ['subgraphs/users', 'subgraphs/products', 'subgraphs/orders', 'gateway'];
  const children = entries.map((entry) => run(`${entry}/dist/main.js`, [], shared));
  for (const port of [users, products, orders, gateway]) {
    await again(async () => {
      if (!(await fetch(`http://localhost:${port}/health/ready`)).ok) throw new Error('not ready');
    });
  }
  return {
    url: `http://localhost:${gateway}`,
    natsUrl: NATS_URL,
    /** Where the services answer, by name. */
    subgraphs: {
      users: `http://localhost:${users}/graphql`,
      products: `http://localhost:${products}/graphql`,
      orders: `http://localhost:${orders}/graphql`,
    },
    async stop() {
      await Promise.all(children.map(end));
      await end(nats);
      await data.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function run(entry, args, env) {
  return spawn(process.execPath, [PROJECT + entry, ...args], {
    env: { ...process.env, NODE_ENV: 'production', ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

function printed(child, pattern) {
  let output = '';
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (chunk) => {
      output += chunk;
      const match = pattern.exec(output);
      if (match) resolve(match[1]);
    });
    child.once('exit', () => reject(new Error(`It ended:\n${output}`)));
  });
}

async function again(attempt) {
  for (let left = 600; ; left--) {
    try {
      return await attempt();
    } catch (error) {
      if (left === 0) throw error;
      await sleep(50);
    }
  }
}

async function end(child) {
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

// Stacks to measure, in processes apart from the load.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { environmentOf, findServices, freePort, portsOf, startLocalData, subgraphsOf } from '@tributary/cli';
import { connect } from 'nats';
import { portKeyOf } from '../../cli/bin/service-folders.mjs';

const PROJECT = fileURLToPath(new URL('../../', import.meta.url));

/** The whole stack in one process, as `npm start` runs it. */
export async function startWhole({ scale = 1, env = {} } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'tributary-bench-'));
  const names = ['gateway', ...(await findServices()).map(({ name }) => name)];
  const ports = names.flatMap((name) => [`--${name}-port`, '0']);
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
  const services = await findServices();
  const [natsPort, gateway] = await Promise.all([freePort(), freePort()]);
  const ports = await portsOf(services, freePorts(services));
  const data = await startLocalData(
    services,
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
    ...environmentOf(services, ports, data.databaseUrls),
    GATEWAY_PORT: gateway,
    SUBGRAPHS: subgraphsOf(services, ports),
  };
  const entries = [...services.map(({ name }) => `subgraphs/${name}`), 'gateway'];
  const children = entries.map((entry) => run(`${entry}/dist/main.js`, [], shared));
  for (const port of [...ports.values(), gateway]) {
    await again(async () => {
      if (!(await fetch(`http://localhost:${port}/health/ready`)).ok) throw new Error('not ready');
    });
  }
  return {
    url: `http://localhost:${gateway}`,
    natsUrl: NATS_URL,
    /** Where the services answer, by name. */
    subgraphs: Object.fromEntries([...ports].map(([name, port]) => [name, `http://localhost:${port}/graphql`])),
    async stop() {
      await Promise.all(children.map(end));
      await end(nats);
      await data.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The options that give every service a free port. */
export const freePorts = (services) => Object.fromEntries(services.map(({ name }) => [portKeyOf(name), 0]));

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

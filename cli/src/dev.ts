import { type ChildProcess, spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { startLocalData } from './local-stack.js';
import { environmentOf, findServices, PROJECT, portOf, subgraphsOf } from './services.js';
import type { StartOptions } from './start.js';
import { aborted, listenForStop, unlessStopped } from './stop-signal.js';
import { UserError } from './user-error.js';

/**
 * Runs the stack for somebody who changes it: every part in a process of its own that restarts when its build changes,
 * and the build running along. PostgreSQL stays up.
 */
export async function runDev(options: StartOptions): Promise<void> {
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const services = await findServices();
  const ports = new Map(services.map((service) => [service.name, portOf(service, options)]));
  if ([options.gatewayPort, ...ports.values()].includes(0)) {
    throw new UserError('"npm run dev" wants ports that stay the same: give a number above 0 for each.');
  }
  const stopped = listenForStop();
  const data = await unlessStopped(stopped, startLocalData(services, options, say, stopped));
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
  const environment = environmentOf(services, ports, data.databaseUrls);
  const program = (folder: string, env: NodeJS.ProcessEnv) =>
    run(['--watch', '--watch-preserve-output', join(folder, 'dist/main.js')], { LOG_LEVEL: options.logLevel, ...env });

  run([turboProgram(), 'watch', 'build', 'bundle', '--output-logs=errors-only']);
  for (const { name } of services) {
    program(`subgraphs/${name}`, {
      ...environment,
      INTERNAL_SECRET: data.internalSecret,
      AUTH_SECRET: data.tokenSecret,
      // In processes of their own and without NATS, events travel by the ledgers alone; so these are looked at often.
      EVENT_POLL_INTERVAL: '100ms',
    });
  }
  program('gateway', {
    GATEWAY_PORT: String(options.gatewayPort),
    SUPERGRAPH_POLL_INTERVAL: '1s',
    SUBGRAPHS: subgraphsOf(services, ports),
  });
  data.note(environment);
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

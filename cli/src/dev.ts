import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkSettings } from './check-settings.js';
import { DEV_SUPERGRAPH } from './data-folder.js';
import { DevStack } from './dev/dev-stack.js';
import { LocalSupergraph } from './dev/local-supergraph.js';
import { freePort } from './free-port.js';
import { startLocalData } from './local-stack.js';
import { environmentOf, findServices, portsOf } from './services.js';
import type { StartOptions } from './start.js';
import { aborted, listenForStop, unlessStopped } from './stop-signal.js';
import { welcome } from './welcome.js';

/** How long PostgreSQL may take to stop. */
const STOP_MS = 1500;

/**
 * Runs the stack for you while you change it: every service and the gateway in a process of its own, replaced without downtime after
 * each build of what changed. Code that does not compile is not run. PostgreSQL stays up.
 *
 * @param problems of options, in place of which there are presets: they end the start
 */
export async function runDev(options: StartOptions, problems: readonly string[]): Promise<void> {
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const stopped = listenForStop();
  const { ignored, explorer } = await checkSettings('dev', options, problems);
  const services = await findServices();
  const data = await unlessStopped(stopped, startLocalData(services, options, say, stopped));
  if (!data) process.exit(0);

  const ports = await portsOf(services, options);
  const gatewayPort = options.gatewayPort || (await freePort());
  const url = `http://localhost:${gatewayPort}`;
  const subgraphs = services.map(({ name }) => ({ name, url: `http://localhost:${ports.get(name)}/graphql` }));
  const supergraph = new LocalSupergraph(join(resolve(options.dataDir), DEV_SUPERGRAPH), subgraphs, url);
  const environment = environmentOf(services, ports, data.databaseUrls);
  const common = { ...ignored, LOG_LEVEL: options.logLevel, PROCESSES: '1' };
  const ofServices = {
    ...common,
    ...environment,
    SUPERSTORE_SCALE: String(options.scale),
    INTERNAL_SECRET: data.internalSecret,
    AUTH_SECRET: data.tokenSecret,
    // In processes of their own and without NATS, events travel by the event logs alone; so these are polled often.
    EVENT_POLL_INTERVAL: '100ms',
  };
  const stack = new DevStack({
    services: new Map(services.map(({ name }) => [name, ofServices])),
    gateway: {
      ...common,
      GATEWAY_PORT: String(gatewayPort),
      SUPERGRAPH_PATH: supergraph.path,
      SUPERGRAPH_POLL_INTERVAL: '100ms',
    },
    supergraph,
    say,
    onReady: () => {
      const serviceUrls = Object.fromEntries(services.map(({ name }) => [name, `http://localhost:${ports.get(name)}`]));
      say(welcome({ url, serviceUrls, explorer }, `${(performance.now() / 1000).toFixed(1)} s`));
      say('Saved changes are built and reloaded.\n');
    },
    stopped,
  });
  data.note(environment);

  const failure = unlessStopped(stopped, stack.run()).catch((error: unknown) => error);
  const ending = await Promise.race([
    aborted(stopped),
    failure,
    data.ended.then(() => 'PostgreSQL ended; see postgres.log in the data folder.'),
  ]);
  if (stopped.aborted) say('\nStopping …');
  else process.stderr.write(`${ending instanceof Error ? ending.stack : ending}\n`);
  await stack.stop();
  await Promise.race([data.stop(), sleep(STOP_MS)]);
  process.exit(stopped.aborted ? 0 : 1);
}

import { setTimeout as sleep } from 'node:timers/promises';
import { InProcessBus } from '@tributary/bus';
import type { Freshness } from '@tributary/events';
import { type HttpService, handleUnexpectedErrors, logOutput, privateLogs } from '@tributary/server';
import type { SubgraphDefinition } from '@tributary/subgraph';
import { type Logger, pino } from 'pino';
import { checkSettings } from './check-settings.js';
import { type LocalData, type LocalDataOptions, since, startLocalData } from './local-stack.js';
import { environmentOf, findServices, loadServices, type PortOptions, portsOf, subgraphsOf } from './services.js';
import { aborted, listenForStop, unlessStopped } from './stop-signal.js';
import { welcome } from './welcome.js';

/** How often the progress of copies is printed. */
const PROGRESS_MS = 5000;
/** How long services and PostgreSQL may take to stop, after the gateway has answered its requests. */
const STOP_MS = 4500;
/** How long the start waits for copies that are behind, but were in sync once. */
const CATCH_UP_MS = 5000;

/** A service's port is `<name>Port`, such as `usersPort`; left out, it is that of its variable or its definition. */
export interface StartOptions extends LocalDataOptions, PortOptions {
  readonly gatewayPort: number;
  readonly logLevel: string;
}

/** A stack that runs: every part in this process, PostgreSQL beside it. */
export interface LocalStack {
  readonly url: string;
  /** Of the services, by name. */
  readonly serviceUrls: Readonly<Record<string, string>>;
  /** Whether the gateway serves the explorer's pages. */
  readonly explorer: boolean;
  /** Resolves when the database server ends, whether it was stopped or failed. */
  readonly databaseEnded: Promise<void>;
  /** Drains the gateway, then the services, then stops PostgreSQL. @returns whether all of it stopped in time */
  stop(): Promise<boolean>;
}

/**
 * Starts the whole graph in this process.
 *
 * @param say prints a line for each step
 * @param stopped aborts the start
 * @param problems of options, in place of which there are presets: they end the start
 * @throws UserError for a problem that you can fix; then, and when aborted, nothing is left running
 */
export async function startLocalStack(
  options: StartOptions,
  say: (line: string) => void,
  stopped: AbortSignal,
  problems: readonly string[] = [],
): Promise<LocalStack> {
  const { ignored, explorer } = await checkSettings('start', options, problems);
  const loading = loadParts();
  // It may fail while PostgreSQL starts.
  loading.catch(() => undefined);
  const data = await startLocalData(
    loading.then(({ services }) => services),
    options,
    say,
    stopped,
  );
  const started: HttpService[] = [];
  const stop = async () => {
    const [gateway, ...others] = started.splice(0).reverse();
    await gateway?.close();
    const stopping = Promise.all(others.map((service) => service.close())).then(() => data.stop());
    const inTime = new AbortController();
    const tooLong = sleep(STOP_MS, false, { signal: inTime.signal }).catch(() => false);
    return Promise.race([stopping.then(() => true), tooLong]).finally(() => inTime.abort());
  };
  try {
    return {
      ...(await startServices(await loading, options, ignored, data, started, say, stopped)),
      explorer,
      databaseEnded: data.ended,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The code of all programs. Loading it blocks the event loop, so it happens before any database connection. */
interface Parts {
  readonly services: readonly SubgraphDefinition[];
  readonly createGateway: typeof import('@tributary/gateway').createGateway;
  readonly readGatewayConfig: typeof import('@tributary/gateway').readConfig;
}

async function loadParts(): Promise<Parts> {
  const services = await findServices();
  await loadServices(services);
  const { createGateway } = await import('@tributary/gateway');
  const { readConfig: readGatewayConfig } = await import('@tributary/gateway');
  return { services, createGateway, readGatewayConfig };
}

async function startServices(
  { services, createGateway, readGatewayConfig }: Parts,
  options: StartOptions,
  ignored: Readonly<Record<string, string>>,
  data: LocalData,
  started: HttpService[],
  say: (line: string) => void,
  stopped: AbortSignal,
): Promise<Pick<LocalStack, 'url' | 'serviceUrls'>> {
  const logger = await createLocalLogger(options.logLevel);
  const bus = new InProcessBus();
  // A service needs the others' URLs before they listen.
  const ports = await portsOf(services, options);
  const environment = environmentOf(services, ports, data.databaseUrls);
  const common = { ...process.env, ...ignored, LOG_LEVEL: options.logLevel };
  const ofServices = {
    ...common,
    ...environment,
    // The host in the URLs of services.
    HOST: 'localhost',
    INTERNAL_SECRET: data.internalSecret,
    AUTH_SECRET: data.tokenSecret,
  };
  const level: Promise<unknown>[] = [];
  // One after the other: type-graphql builds one schema at a time.
  for (const { name, create } of services) {
    const service = await create(ofServices, logger.child({ name }), { bus });
    started.push(service);
    if (service.caughtUp) level.push(Promise.race([service.caughtUp, graceAfter(service.inSyncOnce)]));
  }
  // Together, and none before all can: as soon as a service listens, it reads the event logs of the others.
  await Promise.all(started.map(({ app }) => app.ready()));
  const listening = started.map(async (service, i) => [services[i]?.name, await service.listen()]);
  const serviceUrls = Object.fromEntries(await Promise.all(listening));
  const gateway = await createGateway(
    readGatewayConfig({
      ...common,
      GATEWAY_PORT: String(options.gatewayPort),
      SUBGRAPHS: subgraphsOf(services, ports),
    }),
    logger.child({ name: 'gateway' }),
    { bus },
  );
  started.push(gateway);
  const url = await gateway.listen();
  const printing = setInterval(() => printProgress(serviceUrls, say).catch(() => undefined), PROGRESS_MS);
  await Promise.race([Promise.all([gateway.ready, ...level]), aborted(stopped)]).finally(() => clearInterval(printing));
  stopped.throwIfAborted();
  data.note(environment);
  return { url, serviceUrls };
}

/** Waits for a copy that was in sync once: it can be served, and has a moment to catch up first. */
async function graceAfter(inSyncOnce: Promise<unknown> | undefined): Promise<void> {
  await inSyncOnce;
  await sleep(CATCH_UP_MS, undefined, { ref: false });
}

/** Prints how far copies are behind: after an import they read many events. */
async function printProgress(
  serviceUrls: Readonly<Record<string, string>>,
  say: (line: string) => void,
): Promise<void> {
  for (const [name, url] of Object.entries(serviceUrls)) {
    const response = await fetch(`${url}/copies`, { signal: AbortSignal.timeout(PROGRESS_MS) }).catch(() => null);
    if (!response?.ok) continue;
    const copies = (await response.json()) as Record<string, Freshness>;
    for (const [source, { position, head: end }] of Object.entries(copies)) {
      if (position < end) say(`  ${name} has read ${position} of ${end} events of ${source}`);
    }
  }
}

async function createLocalLogger(level: string): Promise<Logger> {
  const options = { ...privateLogs, level };
  if (!process.stderr.isTTY) return pino(options, logOutput(2));
  const { default: pretty } = await import('pino-pretty');
  return pino(options, pretty({ destination: 2, ignore: 'pid,hostname', sync: true }));
}

/** Starts the stack, prints its URLs, and runs until a signal stops it. */
export async function runStart(options: StartOptions, problems: readonly string[]): Promise<void> {
  const say = (line: string) => process.stdout.write(`${line}\n`);
  const failed = new AbortController();
  const stopped = AbortSignal.any([listenForStop(), failed.signal]);
  handleUnexpectedErrors(await createLocalLogger(options.logLevel), () => failed.abort());
  const stack = await unlessStopped(stopped, startLocalStack(options, say, stopped, problems));
  if (!stack) {
    say('\nStopped.');
    process.exit(failed.signal.aborted ? 1 : 0);
  }
  // Counted from the start of the process, including the check of the build.
  say(welcome(stack, since(0)));

  await Promise.race([aborted(stopped), stack.databaseEnded]);
  const lostDatabase = !stopped.aborted;
  if (lostDatabase) process.stderr.write('PostgreSQL ended; see postgres.log in the data folder.\n');
  else say('\nStopping …');
  const inTime = await stack.stop();
  if (inTime) say('Stopped.');
  else
    process.stderr.write(
      'A service or PostgreSQL did not stop in time. PostgreSQL was signalled to stop, and may still be running.\n',
    );
  process.exit(lostDatabase || failed.signal.aborted || !inTime ? 1 : 0);
}

import { checkFiles, readConfig as readGatewayConfig } from '@tributary/gateway';
import { type ConfigurationError, refuseUnusableAddress, settingOf, startProblem } from '@tributary/server';
import { portKeyOf } from '../bin/service-folders.mjs';
import { DataFolder } from './data-folder.js';
import type { LocalDataOptions } from './local-stack.js';
import { findServices, type PortOptions } from './services.js';
import { type Listener, listenersOf, portProblems } from './used-ports.js';
import { UserError } from './user-error.js';

/** Settings of programs that a local stack ignores or sets itself. */
const UNUSED = {
  start: ['PROCESSES', 'NATS_URL', 'SHUTDOWN_DELAY'],
  dev: ['PROCESSES', 'EVENT_POLL_INTERVAL', 'SUPERGRAPH_POLL_INTERVAL'],
} as const;

/**
 * Checks everything that a stack is started with, before anything is started or written: what its programs read from this process's
 * environment, the ports, and the data folder. Settings that have no effect are named in a warning.
 *
 * @param problems of options, which defaults replace
 * @returns `ignored`: the settings without effect, empty: to the programs, not set; `explorer`: whether the gateway serves it
 * @throws UserError that has every problem, each in a line
 */
export async function checkSettings(
  command: 'start' | 'dev',
  options: LocalDataOptions & PortOptions,
  problems: readonly string[],
): Promise<{ readonly ignored: Readonly<Record<string, string>>; readonly explorer: boolean }> {
  const services = await findServices();
  const listeners = listenersOf(services);
  const ownNames = setByTheStack(services.map(({ name }) => name));
  const unused = [...Object.keys(ownNames), ...UNUSED[command]].flatMap((name) => [name, `${name}_FILE`]);
  const given = unused.filter((name) => process.env[name]);
  if (given.length > 0) process.stderr.write(`Warning: ${command} ignores ${given.join(', ')}.\n`);
  const ignored = Object.fromEntries(unused.map((name) => [name, '']));
  const environment = {
    ...process.env,
    ...ignored,
    ...ownNames,
    ...checkedPorts(listeners, options),
    LOG_LEVEL: 'warn',
  };

  const ofSettings = new Set<string>();
  for (const readConfig of [readGatewayConfig, ...services.map((service) => service.readConfig)]) {
    try {
      readConfig(environment);
    } catch (error) {
      // By name: a service may come with a copy of the class from its own dependencies.
      if ((error as Error).name !== 'ConfigurationError') throw error;
      for (const { setting, problem } of (error as ConfigurationError).problems)
        ofSettings.add(`${setting}: ${problem}`);
    }
  }
  if (ofSettings.size === 0) {
    const config = readGatewayConfig(environment);
    // The gateway of `dev` serves a file of its own.
    const checks = command === 'dev' ? [] : [() => checkFiles(config)];
    for (const check of [...checks, () => refuseUnusableAddress(config.HOST, 0)])
      await check().catch((error: unknown) => ofSettings.add(startProblem(error, 'gateway') ?? String(error)));
  }
  const ofFolder = DataFolder.problem(options.dataDir) ?? [];
  const all = [problems, [...ofSettings], await portProblems(listeners, options), ofFolder].flat();
  if (all.length > 0) throw new UserError(`Invalid settings:\n${all.map((problem) => `  ${problem}`).join('\n')}`);
  return { ignored, explorer: readGatewayConfig(environment).EXPLORER };
}

/** The settings that the stack sets itself, whatever the environment has; here with well-formed values. */
function setByTheStack(services: readonly string[]): Record<string, string> {
  const secret = 'x'.repeat(32);
  const ofServices = services.flatMap((name) => [
    [settingOf(name, 'URL'), 'http://localhost'],
    [settingOf(name, 'DATABASE_URL'), 'postgres://localhost/database'],
  ]);
  return {
    SUBGRAPHS: 'users=http://localhost',
    SUPERGRAPH_PATH: '',
    INTERNAL_SECRET: secret,
    AUTH_SECRET: secret,
    ...Object.fromEntries(ofServices),
  };
}

/** The variables of ports that options give, with a value that is well-formed: the options are checked as such. */
const checkedPorts = (listeners: readonly Listener[], options: PortOptions) =>
  Object.fromEntries(
    listeners
      .filter(({ name }) => options[portKeyOf(name)] !== undefined)
      .map(({ name }) => [settingOf(name, 'PORT'), '0']),
  );

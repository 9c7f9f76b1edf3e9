import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { checkFiles } from '@tributary/gateway/check-files';
import { type GatewayConfig, readConfig as readGatewayConfig } from '@tributary/gateway/config';
import { readConfig as readOrdersConfig } from '@tributary/orders/config';
import { readConfig as readProductsConfig } from '@tributary/products/config';
import type { ConfigurationError } from '@tributary/shared/config/environment';
import { refuseUnusableAddress } from '@tributary/shared/service/listen-address';
import { settingOf, startProblem } from '@tributary/shared/service/start-problem';
import { readConfig as readUsersConfig } from '@tributary/users/config';
import { PROJECT } from './services.js';
import { UserError } from './user-error.js';

/** Reads the configuration of a program. @throws ConfigurationError */
type ReadConfig = (env: NodeJS.ProcessEnv) => unknown;

/**
 * Checks what programs of the stack read from this process's environment, before anything is started or written.
 *
 * @param options the ports by program: `gatewayPort`, `postgresPort`
 * @param programs which programs are given this environment: with `start` the gateway alone
 * @returns the gateway's settings, except those that the stack gives it
 * @throws UserError that has every problem, each in a line that ends with the programs it concerns
 */
export async function checkSettings(options: object, programs: 'gateway' | 'all'): Promise<GatewayConfig> {
  const services = await findConfigs();
  const environment = { ...process.env, ...setByTheStack([...services.keys()]) };
  const problems = new Map<string, string[]>();
  const add = (problem: string, program: string) => problems.set(problem, [...(problems.get(problem) ?? []), program]);
  const readers: [string, ReadConfig][] = [['gateway', readGatewayConfig], ...(programs === 'all' ? services : [])];
  for (const [name, readConfig] of readers) {
    for (const problem of problemsOf(() => readConfig(environment))) add(problem, name);
  }
  const config = problems.size === 0 ? readGatewayConfig(environment) : null;
  if (config) {
    // The gateway of `dev` serves a file of its own.
    const checks = programs === 'all' ? [] : [() => checkFiles(config)];
    for (const check of [...checks, () => refuseUnusableAddress(config.HOST, 0)])
      await check().catch((error: unknown) => add(startProblem(error, 'gateway') ?? String(error), 'gateway'));
  }
  const lines = [...problems].map(([problem, names]) => `  ${problem} (read by ${names.join(', ')})`);
  lines.push(...sharedPorts(['gateway', ...services.keys(), 'postgres'], options));
  if (!config || lines.length > 0) throw new UserError(`Invalid settings:\n${lines.join('\n')}`);
  return config;
}

/** How each service reads its configuration, by the service's name. */
async function findConfigs(): Promise<Map<string, ReadConfig>> {
  const configs = new Map<string, ReadConfig>([
    ['users', readUsersConfig],
    ['products', readProductsConfig],
    ['orders', readOrdersConfig],
  ]);
  const folder = join(PROJECT, 'subgraphs');
  for (const name of readdirSync(folder)) {
    const entry = join(folder, name, 'dist/config.js');
    if (configs.has(name) || !existsSync(join(folder, name, 'package.json')) || !existsSync(entry)) continue;
    const { readConfig } = (await import(pathToFileURL(entry).href)) as { readConfig?: ReadConfig };
    if (readConfig) configs.set(name, readConfig);
  }
  return configs;
}

/** Settings that programs are given by the stack, whatever the environment says; here with values that are well-formed. */
function setByTheStack(services: readonly string[]): NodeJS.ProcessEnv {
  const secret = 'x'.repeat(32);
  const ofServices = services.flatMap((name) => [
    [settingOf(name, 'PORT'), process.env[settingOf(name, 'PORT')] || '0'],
    [settingOf(name, 'URL'), 'http://localhost'],
    [settingOf(name, 'DATABASE_URL'), 'postgres://localhost/database'],
  ]);
  return {
    GATEWAY_PORT: '0',
    SUBGRAPHS: 'users=http://localhost',
    SUPERGRAPH_PATH: '',
    SUPERGRAPH_PATH_FILE: '',
    LOG_LEVEL: 'warn',
    INTERNAL_SECRET: secret,
    AUTH_SECRET: secret,
    EVENT_POLL_INTERVAL: '1s',
    ...(Object.fromEntries(ofServices) as Record<string, string>),
  };
}

function problemsOf(read: () => unknown): string[] {
  try {
    read();
    return [];
  } catch (error) {
    // By name: a service that was added comes with a copy of the class from its build.
    if ((error as Error).name !== 'ConfigurationError') throw error;
    return (error as ConfigurationError).problems.map(({ setting, problem }) => `${setting}: ${problem}`);
  }
}

/** A line for each program whose port another one has, too. */
function sharedPorts(programs: readonly string[], options: object): string[] {
  const owners = new Map<number, string>();
  return programs.flatMap((name) => {
    const port = (options as Record<string, number | undefined>)[`${name}Port`] ?? 0;
    const owner = owners.get(port);
    owners.set(port, owner ?? name);
    return port === 0 || owner === undefined
      ? []
      : [`  --${name}-port: expected a port of its own; got ${port}, the port of ${owner}`];
  });
}

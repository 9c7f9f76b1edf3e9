import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { settingOf } from '@tributary/server';
import type { SubgraphDefinition } from '@tributary/subgraph';
import { isServiceName, portKeyOf, RESERVED, readFolderNames, readServiceFolders } from '../bin/service-folders.mjs';
import { freePort } from './free-port.js';
import { UserError } from './user-error.js';

export const PROJECT = resolve(fileURLToPath(import.meta.url), '../../..');

/**
 * Finds the services of the graph: every folder of `subgraphs/` that is built, in the order of their ports. Their code is not loaded yet.
 *
 * @throws UserError for a folder that cannot be a service's, whose `src/index.ts` does not export its definition, or whose package.json
 * declares another port
 */
export async function findServices(): Promise<SubgraphDefinition[]> {
  const names = readFolderNames().filter((name) => existsSync(entryOf(name)));
  const definitions = await Promise.all(names.map(load));
  return definitions.sort((a, b) => a.port - b.port);
}

/** Loads the code of services. It holds up the event loop. */
export async function loadServices(services: readonly SubgraphDefinition[]): Promise<void> {
  for (const service of services) await service.load();
}

const entryOf = (name: string) => join(PROJECT, 'subgraphs', name, 'dist/index.js');

async function load(name: string): Promise<SubgraphDefinition> {
  if (!isServiceName(name))
    throw new UserError(
      `subgraphs/${name}: expected words of lower-case letters and digits that begin with a letter, with hyphens between them, without "-database" at the end, and other than ${RESERVED.join(', ')}.`,
    );
  const { definition } = (await import(pathToFileURL(entryOf(name)).href)) as { definition?: SubgraphDefinition };
  if (definition?.name !== name)
    throw new UserError(`subgraphs/${name}/src/index.ts must export a "definition" whose name is "${name}".`);
  const declared = readServiceFolders().find((folder) => folder.name === name)?.port ?? definition.port;
  if (declared === definition.port) return definition;
  throw new UserError(
    `subgraphs/${name}/package.json: "tributary.port" must be ${definition.port}, the port in src/index.ts; got ${declared}.`,
  );
}

/** The ports of programs by the keys of their options: `usersPort`, `myReviewsPort`. */
export interface PortOptions {
  readonly [option: `${string}Port`]: number | undefined;
}

/** The port of a program: what the options say, or its variable, or else its own. */
export function portOf({ name, port }: Pick<SubgraphDefinition, 'name' | 'port'>, options: PortOptions): number {
  return Number(options[portKeyOf(name)] ?? process.env[settingOf(name, 'PORT')] ?? port);
}

/** The port of every service, by name: as {@link portOf}, or a free one where that is 0. */
export async function portsOf(
  services: readonly SubgraphDefinition[],
  options: PortOptions,
): Promise<ReadonlyMap<string, number>> {
  const ports = new Map<string, number>();
  for (const service of services) ports.set(service.name, portOf(service, options) || (await freePort()));
  return ports;
}

/** The environment variables that lead every service to the others. */
export function environmentOf(
  services: readonly SubgraphDefinition[],
  ports: ReadonlyMap<string, number>,
  databaseUrls: Readonly<Record<string, string>>,
): Record<string, string> {
  const entries = services.flatMap(({ name }) => {
    return [
      [settingOf(name, 'PORT'), String(ports.get(name))],
      [settingOf(name, 'URL'), `http://localhost:${ports.get(name)}`],
      [settingOf(name, 'DATABASE_URL'), databaseUrls[name] as string],
    ] as const;
  });
  return Object.fromEntries(entries);
}

/** The gateway's list of them. */
export function subgraphsOf(services: readonly SubgraphDefinition[], ports: ReadonlyMap<string, number>): string {
  return services.map(({ name }) => `${name}=http://localhost:${ports.get(name)}/graphql`).join();
}

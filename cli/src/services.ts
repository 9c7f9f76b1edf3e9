import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { SubgraphDefinition } from '@tributary/subgraph';
import { UserError } from './user-error.js';

export const PROJECT = resolve(fileURLToPath(import.meta.url), '../../..');

/**
 * Finds the services of the graph: every folder of `subgraphs/` that is built, in the order of their ports. Their code is not loaded yet.
 *
 * @throws UserError for a folder whose `src/index.ts` does not export its definition
 */
export async function findServices(): Promise<SubgraphDefinition[]> {
  const folder = join(PROJECT, 'subgraphs');
  // What was built once may be left over from a service that is not there any more.
  const names = readdirSync(folder).filter(
    (name) => existsSync(join(folder, name, 'package.json')) && existsSync(entryOf(name)),
  );
  const definitions = await Promise.all(names.map(load));
  return definitions.sort((a, b) => a.port - b.port);
}

/** Loads the code of services. It holds up the event loop. */
export async function loadServices(services: readonly SubgraphDefinition[]): Promise<void> {
  for (const service of services) await service.load();
}

const entryOf = (name: string) => join(PROJECT, 'subgraphs', name, 'dist/index.js');

async function load(name: string): Promise<SubgraphDefinition> {
  const { definition } = (await import(pathToFileURL(entryOf(name)).href)) as { definition?: SubgraphDefinition };
  if (definition?.name === name) return definition;
  throw new UserError(`subgraphs/${name}/src/index.ts must export a "definition" whose name is "${name}".`);
}

/** The port of a service: what the options say, or its variable, or else its own. */
export function portOf({ name, port }: Pick<SubgraphDefinition, 'name' | 'port'>, options: object): number {
  const chosen =
    (options as Record<string, number | undefined>)[`${name}Port`] ?? process.env[`${prefixOf(name)}_PORT`];
  return Number(chosen ?? port);
}

const prefixOf = (name: string) => name.toUpperCase().replaceAll('-', '_');

/** The environment variables that lead every service to the others. */
export function environmentOf(
  services: readonly SubgraphDefinition[],
  ports: ReadonlyMap<string, number>,
  databaseUrls: Readonly<Record<string, string>>,
): Record<string, string> {
  const entries = services.flatMap(({ name }) => {
    const prefix = prefixOf(name);
    return [
      [`${prefix}_PORT`, String(ports.get(name))],
      [`${prefix}_URL`, `http://localhost:${ports.get(name)}`],
      [`${prefix}_DATABASE_URL`, databaseUrls[name] as string],
    ] as const;
  });
  return Object.fromEntries(entries);
}

/** The gateway's list of them. */
export function subgraphsOf(services: readonly SubgraphDefinition[], ports: ReadonlyMap<string, number>): string {
  return services.map(({ name }) => `${name}=http://localhost:${ports.get(name)}/graphql`).join();
}

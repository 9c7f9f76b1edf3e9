import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { ServiceDefinition } from '@tributary/subgraph';
import { UserError } from './user-error.js';

export const PROJECT = resolve(fileURLToPath(import.meta.url), '../../..');

/**
 * The services of the graph: users, products and orders, and every other folder of `subgraphs/` that is built.
 *
 * @throws UserError for a folder whose `service.ts` says not what it is
 */
export async function findServices(): Promise<ServiceDefinition[]> {
  // Loaded here, and not with this module: that takes a while, in which PostgreSQL starts.
  const { definition: users } = await import('@tributary/users');
  const { definition: products } = await import('@tributary/products');
  const { definition: orders } = await import('@tributary/orders');
  const known = [users, products, orders];
  const names = new Set(known.map(({ name }) => name));
  const folder = join(PROJECT, 'subgraphs');
  // What was built once may be left over from a service that is not there any more.
  const isService = (name: string) => existsSync(join(folder, name, 'package.json')) && existsSync(entryOf(name));
  const added = readdirSync(folder).filter((name) => !names.has(name) && isService(name));
  return [...known, ...(await Promise.all(added.map(load)))];
}

const entryOf = (name: string) => join(PROJECT, 'subgraphs', name, 'dist/index.js');

async function load(name: string): Promise<ServiceDefinition> {
  const { definition } = (await import(pathToFileURL(entryOf(name)).href)) as { definition?: ServiceDefinition };
  if (definition?.name === name) return definition;
  throw new UserError(`subgraphs/${name}/src/index.ts must export a "definition" whose name is "${name}".`);
}

/** The port of a service: what the options say, or its variable, or else its own. */
export function portOf({ name, port }: Pick<ServiceDefinition, 'name' | 'port'>, options: object): number {
  const chosen =
    (options as Record<string, number | undefined>)[`${name}Port`] ?? process.env[`${prefixOf(name)}_PORT`];
  return Number(chosen ?? port);
}

const prefixOf = (name: string) => name.toUpperCase().replaceAll('-', '_');

/** What every service is told of all of them. */
export function environmentOf(
  services: readonly ServiceDefinition[],
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
export function subgraphsOf(services: readonly ServiceDefinition[], ports: ReadonlyMap<string, number>): string {
  return services.map(({ name }) => `${name}=http://localhost:${ports.get(name)}/graphql`).join();
}

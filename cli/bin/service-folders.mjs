// The services of a clone by their folders: all that is needed of them before anything is built.
// @ts-check
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** @typedef {{ readonly name: string; readonly port: number | undefined }} ServiceFolder */

const SUBGRAPHS = fileURLToPath(new URL('../../subgraphs', import.meta.url));

/** Names whose variables and options mean something else, such as `NATS_URL`. */
export const RESERVED = [
  ...['auth-jwks', 'database', 'gateway', 'nats', 'postgres', 'redis'],
  // Names that PostgreSQL reserves for itself: each service has a role and a database of its name.
  ...['none', 'public', 'template0', 'template1'],
];

/**
 * Whether a service can have this name: options and variables are derived from it (`--my-reviews-port`, `MY_REVIEWS_PORT`). The URL of
 * `my-reviews-database` would be that of the database of `my-reviews`.
 *
 * @param {string} name
 */
export const isServiceName = (name) =>
  /^[a-z][a-z0-9]*(?:-[a-z][a-z0-9]*)*$/.test(name) && !name.endsWith('-database') && !RESERVED.includes(name);

/** The name of every folder in `subgraphs/` that is a package, in alphabetical order. @returns {string[]} */
export function readFolderNames() {
  // What was built once may be left over from a service that was removed.
  return existsSync(SUBGRAPHS)
    ? readdirSync(SUBGRAPHS)
        .filter((name) => existsSync(manifestOf(name)))
        .sort()
    : [];
}

/**
 * The services in the order of their ports, then those whose package.json declares none as `"tributary": { "port": 4001 }`.
 *
 * @returns {ServiceFolder[]}
 */
export function readServiceFolders() {
  const services = readFolderNames()
    .filter(isServiceName)
    .map((name) => ({ name, port: readDeclaredPort(name) }));
  return services.sort((a, b) => (a.port ?? Number.MAX_VALUE) - (b.port ?? Number.MAX_VALUE));
}

/** The variable of a service, or of another program: `MY_REVIEWS_PORT`. @param {string} name @param {'PORT' | 'URL' | 'DATABASE_URL'} suffix */
export const variableOf = (name, suffix) => `${name.toUpperCase().replaceAll('-', '_')}_${suffix}`;

/** The key of a program's port among the parsed options, as commander derives it: `myReviewsPort`. @param {string} name @returns {`${string}Port`} */
export const portKeyOf = (name) =>
  `${name.replace(/-(.)/g, (_, /** @type {string} */ letter) => letter.toUpperCase())}Port`;

/** @param {string} name */
const manifestOf = (name) => join(SUBGRAPHS, name, 'package.json');

/** The port that a service's package.json declares, if any. @param {string} name @returns {number | undefined} */
function readDeclaredPort(name) {
  try {
    const port = JSON.parse(readFileSync(manifestOf(name), 'utf8')).tributary?.port;
    return Number.isInteger(port) && port >= 0 && port <= 65_535 ? port : undefined;
  } catch {
    // A file that is being edited must not keep "--help" from answering; the build reports it.
    return undefined;
  }
}

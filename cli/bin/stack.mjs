// How the operators' commands find a running stack, before anything is built.
// @ts-check
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { readServiceFolders, variableOf } from './service-folders.mjs';

/** The file of a data folder in which its local stack notes how its parts are reached, while it runs. */
export const NOTE = 'running.json';

const services = readServiceFolders();

/** The variables that say how another stack is reached. */
const VARIABLES = /** @type {const} */ (['URL', 'DATABASE_URL']).flatMap((suffix) =>
  services.map(({ name }) => variableOf(name, suffix)),
);

/** Whether the environment names a stack, if only in part. */
export const namesStack = (env = process.env) => VARIABLES.some((name) => env[name] || env[`${name}_FILE`]);

/**
 * Why the operators' commands find no stack; null when there may be one.
 *
 * @param {string} dataDir
 */
export const missingStack = (dataDir, env = process.env) =>
  namesStack(env) || existsSync(join(dataDir, NOTE)) ? null : noStack(dataDir);

/** @param {string} dataDir */
export const noStack = (dataDir) =>
  `No stack runs on the data folder ${resolve(dataDir)}.\nStart it, or set ${VARIABLES.join(', ')} ` +
  '(and INTERNAL_SECRET, where the services have one) for another.';

// How the operators' commands find a running stack: what is known before anything is built.
// @ts-check
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** The file of a data folder in which its local stack notes how its parts are reached, while it runs. */
export const NOTE = 'running.json';

/** The variables that say how another stack is reached. */
export const VARIABLES = [
  'USERS_URL',
  'PRODUCTS_URL',
  'ORDERS_URL',
  'USERS_DATABASE_URL',
  'PRODUCTS_DATABASE_URL',
  'ORDERS_DATABASE_URL',
];

/** Whether the environment names a stack, if only in part. */
export const namesStack = (env = process.env) => VARIABLES.some((name) => env[name] || env[`${name}_FILE`]);

/**
 * Why there is no stack to look after; null when there may be one.
 *
 * @param {string} dataDir
 */
export const missingStack = (dataDir, env = process.env) =>
  namesStack(env) || existsSync(join(dataDir, NOTE)) ? null : noStack(dataDir);

/** @param {string} dataDir */
export const noStack = (dataDir) =>
  `No stack runs on the data folder ${resolve(dataDir)}.\nStart it, or set ${VARIABLES.join(', ')} ` +
  '(and INTERNAL_SECRET, where the services have one) for another.';

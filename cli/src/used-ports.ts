import { createServer } from 'node:net';
import type { ServiceDefinition } from '@tributary/shared/service/service-definition';
import { portOf } from './services.js';
import type { StartOptions } from './start.js';
import { UserError } from './user-error.js';

/** A program with a port, as far as it is known before any code of a service is loaded. */
export type Listener = Pick<ServiceDefinition, 'name' | 'port'>;

/** Every part of the stack that has an option for its port. */
export const KNOWN: readonly Listener[] = [
  { name: 'gateway', port: 4000 },
  { name: 'users', port: 4001 },
  { name: 'products', port: 4002 },
  { name: 'orders', port: 4003 },
  { name: 'postgres', port: 0 },
];

/** Checks the ports before PostgreSQL starts and data is imported. @throws UserError for one that cannot be used */
export async function refusePortsInUse(listeners: readonly Listener[], options: StartOptions): Promise<void> {
  for (const listener of listeners) {
    const { name } = listener;
    const port = portOf(listener, options);
    const code = port === 0 ? null : await problemOf(port, name === 'postgres' ? '127.0.0.1' : 'localhost');
    if (code === null) continue;
    const problem = code === 'EADDRINUSE' ? 'is in use. Stop what uses it' : `cannot be used (${code}). Allow it`;
    const remedy = `${name}Port` in options ? `, or choose another with --${name}-port.` : '.';
    throw new UserError(`Port ${port} (${name}) ${problem}${remedy}`);
  }
}

/** The code of the error with which a port cannot be listened on; null when it can. */
function problemOf(port: number, host: string): Promise<string | null> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    probe.listen({ port, host }, () => probe.close(() => resolve(null)));
  });
}

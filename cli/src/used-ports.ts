import { createServer } from 'node:net';
import type { ServiceDefinition } from '@tributary/shared/service/service-definition';
import { portOf } from './services.js';
import type { StartOptions } from './start.js';
import { UserError } from './user-error.js';

/** What has a port beside the services. */
export const SERVERS = [
  { name: 'gateway', port: 4000 },
  { name: 'postgres', port: 0 },
];

/** Checks the ports before PostgreSQL starts and data is imported. @throws UserError for one that is in use */
export async function refusePortsInUse(
  parts: readonly Pick<ServiceDefinition, 'name' | 'port'>[],
  options: StartOptions,
): Promise<void> {
  for (const part of parts) {
    const { name } = part;
    const port = portOf(part, options);
    if (port === 0 || !(await portInUse(port))) continue;
    const remedy = `${name}Port` in options ? `, or choose another with --${name}-port.` : '.';
    throw new UserError(`Port ${port} (${name}) is in use. Stop what uses it${remedy}`);
  }
}

function portInUse(port: number): Promise<boolean> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EADDRINUSE'));
    probe.listen({ port, host: 'localhost' }, () => probe.close(() => resolve(false)));
  });
}

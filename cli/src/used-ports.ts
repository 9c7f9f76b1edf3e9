import { createServer } from 'node:net';
import { settingOf } from '@tributary/server';
import type { SubgraphDefinition } from '@tributary/subgraph';
import { portOf } from './services.js';

/** A program with a port, as far as it is known before any code of a service is loaded. */
export type Listener = Pick<SubgraphDefinition, 'name' | 'port'>;

/** Every part of the stack that has an option for its port. */
export const KNOWN: readonly Listener[] = [
  { name: 'gateway', port: 4000 },
  { name: 'users', port: 4001 },
  { name: 'products', port: 4002 },
  { name: 'orders', port: 4003 },
  { name: 'postgres', port: 0 },
];

/** A line for each program whose port another one has, too, or something else uses. */
export async function portProblems(listeners: readonly Listener[], options: object): Promise<string[]> {
  const owners = new Map<number, string>();
  const problems: string[] = [];
  for (const listener of listeners) {
    const { name } = listener;
    const port = portOf(listener, options);
    if (port === 0) continue;
    const setting = `${name}Port` in options ? `--${name}-port` : settingOf(name, 'PORT');
    const owner = owners.get(port);
    if (owner !== undefined) problems.push(`${setting}: expected a port of its own; got ${port}, the port of ${owner}`);
    else {
      const code = await problemOf(port, name === 'postgres' ? '127.0.0.1' : 'localhost');
      const why = code === 'EADDRINUSE' ? 'is in use' : `cannot be used (${code})`;
      if (code !== null) problems.push(`${setting}: expected a free port; got ${port}, which ${why}`);
    }
    owners.set(port, owner ?? name);
  }
  return problems;
}

/** The code of the error with which a port cannot be listened on; null when it can. */
function problemOf(port: number, host: string): Promise<string | null> {
  const probe = createServer();
  return new Promise((resolve) => {
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    probe.listen({ port, host }, () => probe.close(() => resolve(null)));
  });
}

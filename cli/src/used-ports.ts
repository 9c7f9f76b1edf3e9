import { createServer } from 'node:net';
import type { SubgraphDefinition } from '@tributary/subgraph';
import { type PortOptions, portOf } from './services.js';

/** A program with a port. */
export type Listener = Pick<SubgraphDefinition, 'name' | 'port'>;

/** Every program of the stack that listens, each with the port that it has by default. */
export const listenersOf = (services: readonly Listener[]): readonly Listener[] => [
  { name: 'gateway', port: 4000 },
  ...services,
  { name: 'postgres', port: 0 },
];

/** A line for each program whose port another one has, too, or something else uses. */
export async function portProblems(listeners: readonly Listener[], options: PortOptions): Promise<string[]> {
  const owners = new Map<number, string>();
  const problems: string[] = [];
  for (const listener of listeners) {
    const { name } = listener;
    const port = portOf(listener, options);
    // 0 picks a free one; a variable that is not a number is reported with the other settings.
    if (!port) continue;
    const setting = `--${name}-port`;
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

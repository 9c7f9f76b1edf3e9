import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** Addresses of this machine are reached, or refuse, at once. */
const CONNECT_MS = 500;

/**
 * Finds out, before code is loaded and processes are started, whether a program can listen. The port itself is not opened for
 * that: a client might connect just then, and its request would be lost.
 *
 * @throws as `listen` would: EADDRINUSE, EADDRNOTAVAIL, ENOTFOUND
 */
export async function refuseUnusableAddress(host: string, port: number): Promise<void> {
  const probe = createServer().listen({ host, port: 0 });
  await once(probe, 'listening');
  probe.close();
  if (port !== 0 && (await isAnswered(host, port))) {
    const error = new Error(`listen EADDRINUSE: address already in use ${host}:${port}`);
    throw Object.assign(error, { code: 'EADDRINUSE', syscall: 'listen', port });
  }
}

function isAnswered(host: string, port: number): Promise<boolean> {
  const isEveryInterface = host === '0.0.0.0' || host === '::';
  const socket = connect({ host: isEveryInterface ? 'localhost' : host, port, timeout: CONNECT_MS });
  return new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true));
    for (const event of ['error', 'timeout'] as const) socket.once(event, () => resolve(false));
  }).finally(() => socket.destroy());
}

import { connect as openSocket } from 'node:net';

const DEFAULT_PORT = 4222;

/**
 * Waits until a NATS server greets a plain socket.
 *
 * @throws when it refuses the connection, or does not greet within `timeoutMs`, or the signal is aborted
 */
export function waitForGreeting(url: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = openSocket({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || DEFAULT_PORT });
  return new Promise<void>((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', abort));
    socket.once('error', reject);
    socket.once('end', () => reject(new Error('NATS closed the connection')));
    socket.once('data', () => resolve());
    socket.setTimeout(timeoutMs, () => reject(new Error('NATS did not answer in time')));
  }).finally(() => socket.destroy());
}

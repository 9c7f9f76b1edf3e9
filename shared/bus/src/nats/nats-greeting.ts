import { connect as openSocket } from 'node:net';
import { ErrorCode, NatsError } from 'nats';

const DEFAULT_PORT = 4222;

/**
 * Waits until one of several NATS servers greets a plain socket.
 *
 * @param servers URLs, or `host:port`
 * @throws when none greets within `timeoutMs`, or the signal is aborted
 */
export async function waitForGreeting(
  servers: readonly string[],
  timeoutMs: number,
  signal: AbortSignal,
): Promise<void> {
  try {
    await Promise.any(servers.map((server) => greetingOf(server, timeoutMs, signal)));
  } catch (error) {
    throw (error as AggregateError).errors[0];
  }
}

function greetingOf(server: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const { hostname, port } = new URL(server.includes('://') ? server : `nats://${server}`);
  const socket = openSocket({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) || DEFAULT_PORT });
  return new Promise<void>((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    socket.once('close', () => signal.removeEventListener('abort', abort));
    socket.once('error', reject);
    socket.once('end', () => reject(new Error('NATS closed the connection')));
    socket.once('data', () => resolve());
    socket.setTimeout(timeoutMs, () => reject(new NatsError('NATS did not answer in time', ErrorCode.Timeout)));
  }).finally(() => socket.destroy());
}

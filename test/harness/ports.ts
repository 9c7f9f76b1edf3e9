import { createServer } from 'node:net';

/** Below the range from which Linux takes the ports of outgoing connections (32768 and up). */
const FIRST = 12_000;
const PORTS = 20_000;

/**
 * A free port for a server that is killed and started again. While it is away, no outgoing connection takes the port, as
 * might happen to one that `listen(0)` chose.
 */
export async function restartablePort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * PORTS);
    if (await isFree(port)) return port;
  }
}

/** On IPv4 and IPv6. */
function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}

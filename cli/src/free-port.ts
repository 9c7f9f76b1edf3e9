import { createServer } from 'node:net';

/** Below the range of ports that systems give to outgoing connections (Linux: 32768 and up), which could take the port first. */
const FIRST = 12_000;
const PORTS = 20_000;
const ATTEMPTS = 100;

/** Finds a port that nothing listens on, for a program whose address others need before it listens. */
export async function freePort(host = 'localhost'): Promise<number> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const port = FIRST + Math.floor(Math.random() * PORTS);
    if (await isFree(port, host)) return port;
  }
  throw new Error(`No port from ${FIRST} to ${FIRST + PORTS - 1} is free on ${host}.`);
}

function isFree(port: number, host: string): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, host, () => server.close(() => resolve(true)));
  });
}

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A TCP proxy before a server, to make it silent: connections are taken, and nothing passes. */
export interface TcpProxy {
  readonly url: string;
  /** From now on nothing passes, on old and new connections. */
  silence(): void;
  /** Ends what was silent; new connections pass again. */
  restore(): void;
  stop(): Promise<void>;
}

/** @param targetPort where the server is, or will be, on this machine */
export async function startTcpProxy(targetPort: number): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  let silent = false;
  const server = createServer((client) => {
    const upstream = connect({ port: targetPort, host: 'localhost' });
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from);
      from.on('data', (chunk) => {
        if (!silent) to.write(chunk);
      });
      from.on('error', () => to.destroy());
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    silence() {
      silent = true;
    },
    restore() {
      silent = false;
      for (const socket of sockets) socket.destroy();
    },
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

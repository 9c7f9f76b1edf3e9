import type { AddressInfo } from 'node:net';
import { createServer, connect as openSocket, type Socket } from 'node:net';

/** Carries TCP connections to a server, and can make them slow, hold them up and cut them. */
export interface TcpProxy {
  readonly port: number;
  /** How many milliseconds the next piece of data takes, either way; pieces of a connection stay in order. */
  delay: () => number;
  /** Lets nothing through until it is resumed. */
  pause(): void;
  resume(): void;
  /** Keeps every connection that is there open and lets nothing through any more, as a firewall does that forgot it; new ones are served. */
  swallow(): void;
  /** Breaks every connection; new ones are taken. */
  cut(): void;
  /** Breaks every connection; new ones go to another port of the same host. */
  redirect(port: number): void;
  close(): Promise<void>;
}

export async function startTcpProxy(host: string, port: number, delay: () => number = () => 0): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const held: (() => void)[] = [];
  let target = port;
  let paused = false;
  const swallowed = new WeakSet<Socket>();

  const carry = (from: Socket, to: Socket) => {
    let last = 0;
    // What waits for its time, oldest first. Timers may fire late or out of order; pieces stay in order.
    const waiting: (() => void)[] = [];
    const release = () => {
      const send = waiting.shift();
      if (!send) return;
      if (paused) held.push(send);
      else send();
    };
    const later = (send: () => void) => {
      const now = performance.now();
      last = Math.max(last, now + proxy.delay());
      waiting.push(send);
      if (last <= now && waiting.length === 1) release();
      else setTimeout(release, last - now);
    };
    from.on('data', (piece) => later(() => void (swallowed.has(from) || to.write(piece))));
    from.on('end', () => later(() => void (swallowed.has(from) || to.end())));
    from.on('error', () => to.destroy());
    from.on('close', () => {
      sockets.delete(from);
      if (from.destroyed && !from.readableEnded) to.destroy();
    });
  };

  const server = createServer((client) => {
    const upstream = openSocket({ host, port: target });
    for (const socket of [client, upstream]) sockets.add(socket.setNoDelay());
    carry(client, upstream);
    carry(upstream, client);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const proxy: TcpProxy = {
    port: (server.address() as AddressInfo).port,
    delay,
    pause() {
      paused = true;
    },
    resume() {
      paused = false;
      for (const send of held.splice(0)) send();
    },
    swallow() {
      for (const socket of sockets) swallowed.add(socket);
    },
    cut() {
      held.length = 0;
      for (const socket of sockets) socket.destroy();
    },
    redirect(newPort) {
      target = newPort;
      proxy.cut();
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      proxy.cut();
      await closed;
    },
  };
  return proxy;
}

/** The same URL, through a proxy. */
export function through({ port }: TcpProxy, url: string): string {
  const changed = new URL(url);
  changed.hostname = '127.0.0.1';
  changed.port = String(port);
  return changed.href.replace(/\/$/, url.endsWith('/') ? '/' : '');
}

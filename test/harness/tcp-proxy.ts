import type { AddressInfo } from 'node:net';
import { createServer, connect as openSocket, type Socket } from 'node:net';

/** Carries TCP connections to a server, and can make them slow, hold them up, cut them and swallow what they carry. */
export interface TcpProxy {
  readonly port: number;
  /** How many milliseconds the next chunk of data takes, either way; chunks of a connection stay in order. */
  delay: () => number;
  /** Lets nothing through until it is resumed. */
  pause(): void;
  resume(): void;
  /** Breaks every connection; new ones are taken. */
  cut(): void;
  /**
   * Carries nothing any more over the connections that exist, and closes neither side, as a firewall does that lost its state.
   * New ones work.
   */
  swallow(): void;
  /** The server gives up on the connections that were swallowed and ends them; the client still receives nothing. */
  endSwallowed(): void;
  /** Breaks every connection; new ones go to another port of the same host. */
  redirect(port: number): void;
  close(): Promise<void>;
}

export async function startTcpProxy(host: string, port: number, delay: () => number = () => 0): Promise<TcpProxy> {
  const sockets = new Set<Socket>();
  const held: (() => void)[] = [];
  /** Carry nothing: data, and the end of either side, stay here. */
  const swallowed = new Set<Socket>();
  const upstreams = new Set<Socket>();
  let target = port;
  let paused = false;

  const carry = (from: Socket, to: Socket) => {
    let last = 0;
    // What waits for its time, oldest first. Timers may fire late or out of order; chunks stay in order.
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
    from.on('data', (chunk) => later(() => !swallowed.has(from) && void to.write(chunk)));
    from.on('end', () => later(() => !swallowed.has(from) && void to.end()));
    from.on('error', () => !swallowed.has(from) && to.destroy());
    from.on('close', () => {
      const isSwallowed = swallowed.delete(from);
      for (const each of [sockets, upstreams]) each.delete(from);
      if (!isSwallowed && from.destroyed && !from.readableEnded) to.destroy();
    });
  };

  const server = createServer((client) => {
    const upstream = openSocket({ host, port: target });
    for (const socket of [client, upstream]) sockets.add(socket.setNoDelay());
    upstreams.add(upstream);
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
    cut() {
      held.length = 0;
      for (const socket of sockets) socket.destroy();
    },
    swallow() {
      for (const socket of sockets) swallowed.add(socket);
    },
    endSwallowed() {
      for (const socket of swallowed) if (upstreams.has(socket)) socket.destroy();
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

import { lookup } from 'node:dns/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';

const REQUEST_TIMEOUT_MS = 60_000;
/** Longer than load balancers keep their connections, so that the load balancer closes them. */
const KEEP_ALIVE_MS = 72_000;
const LOOK_MS = 10;

/** The sockets of a service, which close without losing a request. */
export class Servers {
  readonly #servers: Server[] = [];
  readonly #connections = new Set<Socket>();
  readonly #onClientError: (error: Error, socket: Socket) => void;
  #handler: RequestListener = () => undefined;
  #draining = false;

  /** @param onClientError answers what cannot be read as a request */
  constructor(onClientError: (error: Error, socket: Socket) => void) {
    this.#onClientError = onClientError;
  }

  /** Whether the service is shutting down: responses should close their connections. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Announces the shutdown to load balancers. Connections are still accepted. */
  announceEnd(): void {
    this.#draining = true;
  }

  create(handler: RequestListener): Server {
    this.#handler = handler;
    const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS }, handler);
    server.on('connection', (socket: Socket) => {
      this.#connections.add(socket);
      socket.once('close', () => this.#connections.delete(socket));
    });
    server.on('clientError', this.#onClientError);
    // An expectation other than 100-continue may be ignored (RFC 9110, 10.1.1); Node would refuse the request past the handler.
    server.on('checkExpectation', handler);
    this.#servers.push(server);
    return server;
  }

  /** "localhost" is an address of IPv4 and one of IPv6; the first server listens at one of them, this adds the other. */
  async listenAtAllOf(host: string): Promise<void> {
    const [first] = this.#servers as [Server];
    const { address: taken, port } = first.address() as AddressInfo;
    const others = (await lookup(host, { all: true })).filter(({ address }) => address !== taken);
    for (const { address } of others) {
      const server = this.create(this.#handler);
      await new Promise<void>((resolve) => {
        server.once('error', () => resolve());
        server.listen(port, address, resolve);
      });
    }
  }

  /**
   * Accepts no more connections, and lets open ones end: each with its next response, which must have
   * `connection: close`. Idle ones are closed after `patienceMs`.
   */
  async drain(patienceMs: number): Promise<void> {
    this.#draining = true;
    // Not the HTTP server's own way: that cuts idle connections, on which a request may be arriving.
    for (const server of this.#servers) NetServer.prototype.close.call(server);
    const until = performance.now() + patienceMs;
    while (this.#connections.size > 0 && performance.now() < until) await sleep(LOOK_MS);
    for (const server of this.#servers) server.closeIdleConnections();
  }

  /** Closes every connection once what was written to it is sent. One that sends no request is closed, too. */
  closeAll(): void {
    for (const socket of this.#connections) socket.destroySoon();
  }
}

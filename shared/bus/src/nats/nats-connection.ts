import { EventEmitter, once, setMaxListeners } from 'node:events';
import { anySignal, Fault, settledWithin, type Time, unlessAborted } from '@tributary/server';
import { connect, ErrorCode, type NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { natsErrorInWords } from './nats-failure.js';
import { waitForGreeting } from './nats-greeting.js';

const CONNECT_TIMEOUT_MS = 2000;
/** A server that does not answer two pings in a row is given up with the third. */
const PING_INTERVAL_MS = 1000;
const MAX_PINGS_OUT = 2;
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 2000;
/** How often the client itself tries a server that hangs: it has more addresses than a plain socket tries. */
const HUNG_RETRY_MS = 30_000;
/** A shorter loss of the connection is not reported. */
export const PATIENCE_MS = 2000;
/** How long a connection may take to close: what it still has to send waits for the server. */
const CLOSE_TIMEOUT_MS = 1000;

export interface NatsConnectionOptions {
  readonly url: string;
  /** Shown in the server's list of connections. */
  readonly name: string;
  readonly logger: Logger;
  readonly time: Time;
}

/**
 * Keeps a connection to NATS, for ever: whatever ends one (the network, a restart, a refused login), the next is opened. It is always
 * a new connection, so subscriptions have one way to begin: on each connection again.
 */
export class NatsConnectionKeeper {
  readonly #options: NatsConnectionOptions;
  readonly #stopped = new AbortController();
  readonly #opened = new EventEmitter().setMaxListeners(0);
  readonly #fault: Fault;
  readonly #forbidden = new Set<string>();
  #current: NatsConnection | null = null;
  #running: Promise<void> | null = null;
  /** Other servers of the cluster, as the last connection knew them. */
  #clusterServers: readonly string[] = [];

  constructor(options: NatsConnectionOptions) {
    this.#options = options;
    // Each subscription that waits for a connection adds a listener.
    setMaxListeners(0, this.#stopped.signal);
    this.#fault = new Fault({
      logger: options.logger,
      began: 'there is no connection to NATS; copies follow by polling, and gateways do not cache',
      ended: 'the connection to NATS is back',
      patienceMs: PATIENCE_MS,
      time: options.time,
    });
  }

  /** The connection, while there is one. */
  get current(): NatsConnection | null {
    return this.#current;
  }

  /** It was closed, and opens no more connections. */
  get closed(): boolean {
    return this.#stopped.signal.aborted;
  }

  /** Why there is no connection; null while there is one, and until the loss has lasted `PATIENCE_MS`. */
  get problem(): string | null {
    return this.#fault.cause;
  }

  /** Waits until there is a connection. The first call begins to open one. @throws when it is closed, or the signal is aborted */
  async open(signal: AbortSignal): Promise<NatsConnection> {
    signal.throwIfAborted();
    this.#stopped.signal.throwIfAborted();
    this.#running ??= this.#run();
    if (this.#current) return this.#current;
    const either = anySignal([signal, this.#stopped.signal]);
    try {
      const [connection] = await once(this.#opened, 'open', { signal: either.signal });
      return connection;
    } finally {
      either.end();
    }
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    this.#fault.stop();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    const { time } = this.#options;
    let pauseMs = FIRST_RETRY_MS;
    let answered = true;
    let attemptedAt = 0;
    while (!signal.aborted) {
      const openedAt = time.monotonic();
      try {
        // The client leaves a socket behind with each attempt that times out, so a server that hangs is tried by a plain socket.
        if (!answered && openedAt - attemptedAt < HUNG_RETRY_MS)
          await waitForGreeting([this.#options.url, ...this.#clusterServers], CONNECT_TIMEOUT_MS, signal);
        attemptedAt = openedAt;
        answered = false;
        const connection = await this.#connect(signal);
        answered = true;
        const cause = await this.#use(connection);
        if (!signal.aborted) this.#fault.failed(cause);
      } catch (error) {
        if (signal.aborted) return;
        answered ||= !isTimeout(error);
        this.#fault.failed(natsErrorInWords(error));
      }
      // One that lasted is opened again at once; one that is refused, or closed again and again, after longer and longer pauses.
      pauseMs = time.monotonic() - openedAt > MAX_RETRY_MS + CONNECT_TIMEOUT_MS ? FIRST_RETRY_MS : pauseMs;
      await time.sleep(pauseMs * (0.75 + Math.random() / 2), signal).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, MAX_RETRY_MS);
    }
  }

  async #connect(signal: AbortSignal): Promise<NatsConnection> {
    const { url, name } = this.#options;
    const connecting = connect({
      servers: [url, ...this.#clusterServers],
      noRandomize: true,
      name,
      timeout: CONNECT_TIMEOUT_MS,
      reconnect: false,
      pingInterval: PING_INTERVAL_MS,
      maxPingOut: MAX_PINGS_OUT,
    });
    try {
      return await unlessAborted(connecting, signal);
    } catch (error) {
      if (signal.aborted) {
        connecting.then(
          (late) => late.close(),
          () => undefined,
        );
      }
      throw error;
    }
  }

  /** Hands a connection out until it ends. @returns why it ended */
  async #use(connection: NatsConnection): Promise<string> {
    const { signal } = this.#stopped;
    this.#current = connection;
    this.#clusterServers = connection.info?.connect_urls ?? [];
    this.#fault.worked();
    this.#opened.emit('open', connection);
    try {
      const error = await unlessAborted(Promise.race([connection.closed(), this.#silence(connection)]), signal);
      return error ? natsErrorInWords(error) : 'the connection to NATS was closed';
    } catch {
      return 'closed';
    } finally {
      this.#current = null;
      await settledWithin(CLOSE_TIMEOUT_MS, [connection.close()], this.#options.time);
    }
  }

  /** Resolves when the server no longer answers; never when the connection ends otherwise. */
  async #silence(connection: NatsConnection): Promise<Error> {
    for await (const status of connection.status()) {
      if (status.type === 'staleConnection') return new Error('NATS no longer answers');
      if (status.permissionContext?.operation === 'publish') this.#reportForbidden(status.permissionContext.subject);
    }
    return new Promise<never>(() => undefined);
  }

  #reportForbidden(subject: string): void {
    const { name, logger } = this.#options;
    const parts = subject.split('.').slice(0, 3).join('.');
    if (this.#forbidden.has(parts)) return;
    this.#forbidden.add(parts);
    logger.warn({ subject: parts, user: name }, 'NATS does not allow this process to publish; check its permissions');
  }
}

function isTimeout(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === ErrorCode.Timeout;
}

import { Fault, settledWithin, type Time, type Timers, timeoutSignal, unlessAborted } from '@tributary/server';
import type { Msg, NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { type NatsConnectionKeeper, PATIENCE_MS } from './nats-connection.js';
import { natsErrorInWords } from './nats-failure.js';

const RETRY_MS = 250;
const STOP_TIMEOUT_MS = 3000;
const CONFIRM_TIMEOUT_MS = 2000;

export interface NatsSubscriptionOptions {
  readonly connections: NatsConnectionKeeper;
  readonly logger: Logger;
  readonly time: Time;
  /** What is received, for logs and `/health/ready`: `events of users`. */
  readonly what: string;
  /**
   * Receives on one connection until that ends or the signal is aborted; calls `working` once it receives.
   *
   * @throws when it cannot receive (any longer)
   */
  readonly receive: (connection: NatsConnection, working: () => void, signal: AbortSignal) => Promise<void>;
}

/** A subscription that is renewed on every connection, and whenever it is lost on one. */
export class NatsSubscription {
  readonly #options: NatsSubscriptionOptions;
  readonly #stopped = new AbortController();
  readonly #fault: Fault;
  readonly #running: Promise<void>;

  constructor(options: NatsSubscriptionOptions) {
    this.#options = options;
    this.#fault = new Fault({
      logger: options.logger,
      began: `${options.what} cannot be received from NATS`,
      ended: `${options.what} are received from NATS again`,
      patienceMs: PATIENCE_MS,
      time: options.time,
    });
    this.#running = this.#run();
  }

  /** Why it does not receive although there is a connection; null while it does. */
  get problem(): string | null {
    const { cause } = this.#fault;
    return cause && `${this.#options.what} cannot be received: ${cause}`;
  }

  /** Nothing more is received. Resolves within 3 s, also when NATS or the listener hangs. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#fault.stop();
    await settledWithin(STOP_TIMEOUT_MS, [this.#running], this.#options.time);
  }

  async #run(): Promise<void> {
    const { connections, receive, time } = this.#options;
    const { signal } = this.#stopped;
    while (!signal.aborted && !connections.closed) {
      let connection: NatsConnection | null = null;
      try {
        connection = await connections.open(signal);
        await receive(connection, () => this.#fault.worked(), signal);
      } catch (error) {
        if (signal.aborted) return;
        // The connection keeper reports the loss of the connection.
        if (connection && !connection.isClosed()) this.#fault.failed(natsErrorInWords(error));
      }
      await time.sleep(RETRY_MS, signal).catch(() => undefined);
    }
  }
}

export interface SubjectOptions {
  readonly subject: string;
  readonly onMessage: (message: Msg) => void;
  /** Limit how long the server may take to confirm the subscription. */
  readonly timers: Timers;
}

/** Receives the messages of a subject, those that are sent while it listens. A part of `NatsSubscriptionOptions.receive`. */
export async function receiveSubject(
  connection: NatsConnection,
  { subject, onMessage, timers }: SubjectOptions,
  working: () => void,
  signal: AbortSignal,
): Promise<void> {
  let refuse: (error: Error) => void = () => undefined;
  const refused = new Promise<never>((_resolve, reject) => {
    refuse = reject;
  });
  refused.catch(() => undefined);
  const subscription = connection.subscribe(subject, {
    callback: (error, message) => {
      if (error) refuse(error);
      else if (!signal.aborted) onMessage(message);
    },
  });
  const timeout = timeoutSignal(CONFIRM_TIMEOUT_MS, timers);
  try {
    const over = Promise.race([subscription.closed, connection.closed(), refused]);
    // When this is answered, the server has taken the subscription.
    const confirmed = unlessAborted(connection.flush(), timeout.signal);
    await unlessAborted(Promise.race([confirmed, over]), signal);
    timeout.end();
    working();
    await unlessAborted(over, signal);
  } finally {
    timeout.end();
    subscription.unsubscribe();
  }
}

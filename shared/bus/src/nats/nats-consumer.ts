import { settledWithin, type Timers, unlessAborted } from '@tributary/server';
import type { JsMsg, NatsConnection } from 'nats';
import type { Logger } from 'pino';
import { type LoggedEvent, loggedEventSchema } from '../event.js';
import { ensureConsumer, ensureStream, MAX_IN_FLIGHT, streamOf } from './nats-streams.js';

const REQUEST_TIMEOUT_MS = 5000;
const REDELIVER_AFTER_MS = 1000;
/** How long one request for events lasts, and how often the server says meanwhile that it has none. Two missed heartbeats, and the consumer is opened again. */
const PULL_EXPIRES_MS = 10_000;
const HEARTBEAT_MS = 1000;
const STOP_TIMEOUT_MS = 2000;

export interface NatsConsumerOptions {
  readonly source: string;
  /** The name of the durable consumer. */
  readonly durable: string;
  readonly logger: Logger;
  readonly timers: Timers;
  readonly onEvents: (events: readonly LoggedEvent[]) => Promise<void>;
}

/** Receives a source's events from JetStream, in batches one after the other, and acknowledges what took effect. */
export class NatsConsumer {
  readonly #options: NatsConsumerOptions;
  #waiting: JsMsg[] = [];
  #working: Promise<void> | null = null;
  #reportedUnreadable = false;

  constructor(options: NatsConsumerOptions) {
    this.#options = options;
  }

  /** Receives on one connection, creating the stream and the consumer when they are missing. See `NatsSubscriptionOptions.receive`. */
  async receive(connection: NatsConnection, working: () => void, signal: AbortSignal): Promise<void> {
    const { source, durable } = this.#options;
    const stream = streamOf(source);
    const manager = await connection.jetstreamManager({ checkAPI: false, timeout: REQUEST_TIMEOUT_MS });
    await unlessAborted(ensureStream(manager, source), signal);
    await unlessAborted(ensureConsumer(manager, stream, durable), signal);
    const consumers = connection.jetstream({ timeout: REQUEST_TIMEOUT_MS }).consumers;
    const consumer = await unlessAborted(consumers.get(stream, durable), signal);
    const messages = await consumer.consume({
      max_messages: MAX_IN_FLIGHT,
      expires: PULL_EXPIRES_MS,
      idle_heartbeat: HEARTBEAT_MS,
      // It does not wait for a missing stream or consumer: `receive` creates it.
      abort_on_missing_resource: true,
    });
    const stop = () => void messages.close();
    signal.addEventListener('abort', stop, { once: true });
    void connection.closed().then(stop);
    const status = await messages.status();
    const watchHeartbeats = async () => {
      for await (const { type } of status)
        if (type === 'heartbeats_missed') messages.stop(new Error('JetStream no longer answers'));
    };
    void watchHeartbeats();
    working();
    try {
      for await (const message of messages) this.#deliver(message);
    } finally {
      signal.removeEventListener('abort', stop);
      // JetStream delivers them again.
      this.#waiting = [];
    }
  }

  /** Waits for the batch that takes effect now, at most 2 s. */
  async stop(): Promise<void> {
    this.#waiting = [];
    if (this.#working !== null) await settledWithin(STOP_TIMEOUT_MS, [this.#working], this.#options.timers);
  }

  #deliver(message: JsMsg): void {
    this.#waiting.push(message);
    this.#working ??= this.#work();
  }

  async #work(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      await this.#take(batch).catch(() => undefined);
    }
    this.#working = null;
  }

  async #take(batch: readonly JsMsg[]): Promise<void> {
    const readable = batch.map((message) => ({ message, event: this.#read(message) })).filter(hasEvent);
    try {
      if (readable.length > 0) await this.#options.onEvents(readable.map(({ event }) => event));
      for (const { message } of readable) message.ack();
    } catch (error) {
      // The listener reports what lasts.
      this.#options.logger.debug({ err: error }, 'events were not applied; JetStream delivers them again');
      for (const { message } of readable) message.nak(REDELIVER_AFTER_MS);
    }
  }

  /** @returns null for a message that is no event; it is not delivered again, and consumers read the event log instead */
  #read(message: JsMsg): LoggedEvent | null {
    try {
      return loggedEventSchema.parse(message.json());
    } catch {
      const { source, logger } = this.#options;
      if (!this.#reportedUnreadable)
        logger.warn({ source, sequence: message.seq }, 'a message in the stream is no event; it is skipped');
      this.#reportedUnreadable = true;
      message.term();
      return null;
    }
  }
}

interface Received {
  readonly message: JsMsg;
  readonly event: LoggedEvent;
}

const hasEvent = (received: { message: JsMsg; event: LoggedEvent | null }): received is Received =>
  received.event !== null;

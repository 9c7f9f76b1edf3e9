import {
  AckPolicy,
  type ConsumerMessages,
  connect,
  DeliverPolicy,
  type JetStreamClient,
  type JetStreamManager,
  type JsMsg,
  type Msg,
  type NatsConnection,
  type NatsError,
  nanos,
  StorageType,
} from 'nats';
import type { Logger } from 'pino';
import { type LedgerEvent, ledgerEventSchema } from './event.js';
import type { EventBus, EventListener, LedgerHead } from './event-bus.js';
import type { Touches, TouchListener } from './touches.js';

const PUBLISH_TIMEOUT_MS = 5000;
/** Redelivered when not acknowledged within; longer than a batch takes. */
const ACK_WAIT_MS = 30_000;
const MAX_IN_FLIGHT = 1000;
const REDELIVER_AFTER_MS = 1000;
/** The stream is a carrier, not the archive: what is older is read from the ledger. */
const MAX_AGE_MS = 24 * 3_600_000;

export interface NatsBusOptions {
  readonly url: string;
  readonly name: string;
  readonly logger: Logger;
}

/** Events over NATS JetStream: a stream per source, a durable consumer per name. */
export class NatsBus implements EventBus {
  readonly #options: NatsBusOptions;
  readonly #ensured = new Set<string>();
  #connection: NatsConnection | null = null;
  #opening: Promise<NatsConnection> | null = null;
  #closed = false;

  constructor(options: NatsBusOptions) {
    this.#options = options;
  }

  async publish(source: string, events: readonly LedgerEvent[]): Promise<void> {
    const { jetstream } = await this.#stream(source);
    try {
      // One connection keeps the order; the acknowledgements are awaited together.
      await Promise.all(
        events.map((event) =>
          jetstream.publish(subjectOf(event), JSON.stringify(event), {
            msgID: `${source}:${event.position}`,
            timeout: PUBLISH_TIMEOUT_MS,
          }),
        ),
      );
    } catch (error) {
      // The server may have lost its streams (and its disk): make sure again before the next attempt.
      this.#ensured.delete(source);
      throw error;
    }
  }

  announce(source: string, head: LedgerHead): void {
    if (this.#connection && !this.#connection.isClosed())
      this.#connection.publish(`tributary.heads.${source}`, JSON.stringify(head));
  }

  async forget(source: string, aggregateType: string, aggregateId: string): Promise<void> {
    const { manager } = await this.#stream(source);
    await manager.streams.purge(streamOf(source), { filter: subjectOf({ source, aggregateType, aggregateId }) });
  }

  async subscribe(source: string, consumer: string, listener: EventListener): Promise<() => Promise<void>> {
    const subscription = new NatsSubscription(listener, this.#options.logger, async () => {
      const { connection, jetstream, manager } = await this.#stream(source);
      const durable = `${consumer}_from_${source}`;
      await ensureConsumer(manager, streamOf(source), durable);
      const handle = await jetstream.consumers.get(streamOf(source), durable);
      return {
        connection,
        messages: await handle.consume({ max_messages: MAX_IN_FLIGHT }),
        heads: `tributary.heads.${source}`,
      };
    });
    subscription.start();
    return () => subscription.stop();
  }

  tell(source: string, touches: Touches): void {
    if (this.#connection && !this.#connection.isClosed() && this.#reachable)
      this.#connection.publish(`tributary.touches.${source}`, JSON.stringify(touches));
  }

  async listen(source: string, listener: TouchListener): Promise<() => void> {
    let stopped = false;
    let stop: () => void = () => undefined;
    const subscribe = async () => {
      while (!stopped) {
        try {
          const connection = await this.#connect();
          // It outlives reconnections.
          const subscription = connection.subscribe(`tributary.touches.${source}`, {
            callback: reader<Touches>(this.#options.logger, (touches) => listener.onTouches(source, touches)),
          });
          stop = () => subscription.unsubscribe();
          if (stopped) stop();
          return;
        } catch (error) {
          this.#options.logger.debug({ err: error }, 'changes cannot be heard of; trying again');
          await new Promise((resolve) => setTimeout(resolve, REDELIVER_AFTER_MS));
        }
      }
    };
    void subscribe();
    return () => {
      stopped = true;
      stop();
    };
  }

  connected(): boolean {
    return this.#connection !== null && !this.#connection.isClosed() && this.#reachable;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#connection?.close();
  }

  #reachable = false;

  async #connect(): Promise<NatsConnection> {
    if (this.#closed) throw new Error('The event bus is closed.');
    if (this.#connection && !this.#connection.isClosed()) return this.#connection;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null;
    });
    return this.#opening;
  }

  async #open(): Promise<NatsConnection> {
    const connection = await connect({
      servers: this.#options.url,
      name: this.#options.name,
      timeout: 3000,
      maxReconnectAttempts: -1,
      reconnectTimeWait: 250,
      pingInterval: 5000,
    });
    this.#connection = connection;
    this.#reachable = true;
    void this.#followStatus(connection);
    return connection;
  }

  async #followStatus(connection: NatsConnection): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type === 'disconnect') this.#reachable = false;
      if (type === 'reconnect') {
        this.#reachable = true;
        this.#ensured.clear();
      }
    }
    this.#reachable = false;
  }

  async #stream(
    source: string,
  ): Promise<{ connection: NatsConnection; jetstream: JetStreamClient; manager: JetStreamManager }> {
    const connection = await this.#connect();
    if (!this.#reachable) throw new Error('NATS cannot be reached.');
    const manager = await connection.jetstreamManager({ checkAPI: false, timeout: PUBLISH_TIMEOUT_MS });
    if (!this.#ensured.has(source)) {
      await ensureStream(manager, source);
      this.#ensured.add(source);
    }
    return { connection, jetstream: connection.jetstream({ timeout: PUBLISH_TIMEOUT_MS }), manager };
  }
}

/** A durable consumer that comes back after every loss, of the connection, the stream or the server's disk. */
class NatsSubscription {
  readonly #listener: EventListener;
  readonly #logger: Logger;
  readonly #open: () => Promise<{ connection: NatsConnection; messages: ConsumerMessages; heads: string }>;
  #messages: ConsumerMessages | null = null;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();

  constructor(
    listener: EventListener,
    logger: Logger,
    open: () => Promise<{ connection: NatsConnection; messages: ConsumerMessages; heads: string }>,
  ) {
    this.#listener = listener;
    this.#logger = logger;
    this.#open = open;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#messages?.close();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      try {
        const { connection, messages, heads } = await this.#open();
        this.#messages = messages;
        // It was stopped while it opened: nobody else closes this.
        if (this.#stopped) {
          await messages.close();
          return;
        }
        const headSubscription = connection.subscribe(heads, {
          callback: reader<LedgerHead>(this.#logger, (head) => this.#listener.onHead(head)),
        });
        try {
          await this.#consume(messages);
        } finally {
          headSubscription.unsubscribe();
        }
      } catch (error) {
        this.#logger.debug({ err: error }, 'events cannot be received; trying again');
      }
      if (!this.#stopped) await new Promise((resolve) => setTimeout(resolve, REDELIVER_AFTER_MS));
    }
  }

  async #consume(messages: ConsumerMessages): Promise<void> {
    let waiting: JsMsg[] = [];
    let wake: () => void = () => undefined;
    let over = false;
    const status = await messages.status();
    void (async () => {
      // The stream or the consumer is gone: begin anew.
      for await (const { type } of status)
        if (type === 'consumer_deleted' || type === 'stream_not_found' || type === 'consumer_not_found')
          messages.stop();
    })();
    const worker = (async () => {
      while (!over || waiting.length > 0) {
        if (waiting.length === 0) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        const batch = waiting;
        waiting = [];
        await this.#take(batch);
      }
    })();
    try {
      for await (const message of messages) {
        waiting.push(message);
        wake();
      }
    } finally {
      over = true;
      wake();
      await worker;
    }
  }

  async #take(batch: readonly JsMsg[]): Promise<void> {
    try {
      const events = batch.map((message) => ledgerEventSchema.parse(message.json()));
      await this.#listener.onEvents(events);
      for (const message of batch) message.ack();
    } catch (error) {
      this.#logger.debug({ err: error }, 'events were not applied; they come again');
      for (const message of batch) message.nak(REDELIVER_AFTER_MS);
    }
  }
}

/** Reads messages as JSON. What is none, and what the server says in place of a message (that a subject is forbidden, say), is logged. */
function reader<T>(logger: Logger, read: (value: T) => void): (error: NatsError | null, message: Msg) => void {
  return (error, message) => {
    try {
      if (error) throw error;
      read(message.json<T>());
    } catch (problem) {
      logger.warn({ err: problem }, 'a message from NATS could not be read');
    }
  };
}

async function ensureStream(manager: JetStreamManager, source: string): Promise<void> {
  const config = {
    name: streamOf(source),
    subjects: [`tributary.events.${source}.>`],
    storage: StorageType.File,
    max_age: nanos(MAX_AGE_MS),
    duplicate_window: nanos(120_000),
  };
  try {
    await manager.streams.update(config.name, config);
  } catch {
    await manager.streams.add(config);
  }
}

async function ensureConsumer(manager: JetStreamManager, stream: string, durable: string): Promise<void> {
  const config = {
    durable_name: durable,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(ACK_WAIT_MS),
    max_ack_pending: MAX_IN_FLIGHT,
    deliver_policy: DeliverPolicy.All,
  };
  try {
    await manager.consumers.info(stream, durable);
    await manager.consumers.update(stream, durable, {
      ack_wait: config.ack_wait,
      max_ack_pending: config.max_ack_pending,
    });
  } catch {
    await manager.consumers.add(stream, config);
  }
}

function streamOf(source: string): string {
  return `tributary_${source}`;
}

/** One subject per aggregate. Ids are encoded: a subject's parts may hold neither dots nor spaces nor wildcards. */
function subjectOf({
  source,
  aggregateType,
  aggregateId,
}: Pick<LedgerEvent, 'source' | 'aggregateType' | 'aggregateId'>): string {
  return `tributary.events.${source}.${aggregateType}.${Buffer.from(aggregateId).toString('base64url')}`;
}

import type { InvalidationListener, Invalidations } from '@tributary/consistency';
import { Fault, systemTime, type Time, timeoutSignal } from '@tributary/server';
import type { JetStreamClient, JetStreamManager, Msg, NatsConnection } from 'nats';
import type { Logger } from 'pino';
import type { LoggedEvent } from '../event.js';
import type { EndPosition, EventBus, EventListener } from '../event-bus.js';
import { invalidationMessages } from '../invalidation-messages.js';
import { LatestTerms } from '../latest-terms.js';
import { NatsConnectionKeeper } from './nats-connection.js';
import { NatsConsumer } from './nats-consumer.js';
import { isTooLarge, natsErrorInWords } from './nats-failure.js';
import { ensureStream, streamOf, subjectOf } from './nats-streams.js';
import { NatsSubscription, receiveSubject } from './nats-subscription.js';

const REQUEST_TIMEOUT_MS = 5000;
/** How long a publisher waits for a connection. */
const CONNECTION_TIMEOUT_MS = 2000;
/** The most events, and bytes of them, that are sent before they are acknowledged. */
const MAX_UNACKNOWLEDGED = 250;
const MAX_UNACKNOWLEDGED_BYTES = 4 * 1024 * 1024;

const endPositionsOf = (source: string) => `tributary.heads.${source}`;
const invalidationsOf = (source: string) => `tributary.touches.${source}`;

export interface NatsBusOptions {
  readonly url: string;
  readonly name: string;
  readonly logger: Logger;
  /** The system's time by default. */
  readonly time?: Time;
}

/** Events over NATS JetStream: a stream per source, a durable consumer per name. End positions and invalidations go to the present subscribers, without storage. */
export class NatsBus implements EventBus {
  readonly #logger: Logger;
  readonly #connections: NatsConnectionKeeper;
  readonly #subscriptions = new Set<NatsSubscription>();
  readonly #time: Time;
  readonly #terms: LatestTerms;
  readonly #closed = new AbortController();
  readonly #sending: Fault;
  /** The streams that exist, by connection. */
  #ensured = new WeakMap<NatsConnection, Set<string>>();

  constructor(options: NatsBusOptions) {
    this.#logger = options.logger;
    this.#time = options.time ?? systemTime;
    this.#terms = new LatestTerms(this.#time);
    this.#connections = new NatsConnectionKeeper({ ...options, time: this.#time });
    this.#sending = new Fault({
      logger: options.logger,
      time: this.#time,
      began: 'end positions and invalidations cannot be sent over NATS; gateways do not cache',
      ended: 'end positions and invalidations are sent over NATS again',
    });
  }

  async publish(
    source: string,
    events: readonly LoggedEvent[],
    mayGoOn: () => boolean = () => true,
  ): Promise<readonly string[]> {
    const { connection, jetstream } = await this.#jetstream(source);
    const leftOut: (string | null)[] = [];
    try {
      for (const batch of batches(events)) {
        if (!mayGoOn()) throw new Error('another relay leads');
        const parts = batch.map(({ event, text }) => this.#publishOne(jetstream, event, text));
        leftOut.push(...(await Promise.all(parts)));
      }
      return leftOut.filter((cause) => cause !== null);
    } catch (error) {
      // The server may have lost its streams (and its disk): make sure again before the next attempt.
      this.#ensured.delete(connection);
      throw new Error(natsErrorInWords(error), { cause: error });
    }
  }

  /**
   * What JetStream has stored before is recognised by its id, and not stored again.
   *
   * @returns why the event was left out, or null
   */
  async #publishOne(jetstream: JetStreamClient, event: LoggedEvent, text: string): Promise<string | null> {
    const { source, position, type } = event;
    const msgID = `${source}:${position}`;
    try {
      await jetstream.publish(subjectOf(event), text, { msgID, timeout: REQUEST_TIMEOUT_MS });
      return null;
    } catch (error) {
      if (!isTooLarge(error)) throw error;
      const bytes = Buffer.byteLength(`NATS/1.0\r\nNats-Msg-Id: ${msgID}\r\n\r\n${text}`);
      const maxBytes = this.#connections.current?.info?.max_payload ?? 0;
      const limit = bytes > maxBytes ? `NATS takes at most ${maxBytes}` : "the stream's own limit is lower";
      return `${type} at position ${position} has ${bytes} bytes with its headers; ${limit}`;
    }
  }

  announce(source: string, end: EndPosition): void {
    this.#send((connection) => connection.publish(endPositionsOf(source), JSON.stringify(end)));
  }

  publishInvalidations(source: string, invalidations: Invalidations): void {
    this.#send((connection) => {
      const maxBytes = connection.info?.max_payload ?? Number.POSITIVE_INFINITY;
      const messages = invalidationMessages(invalidations, maxBytes, (position, bytes) =>
        this.#logger.warn(
          { source, position, bytes, maxBytes },
          'the invalidations of an event are too large for NATS; gateways discard what they cached of this service',
        ),
      );
      for (const message of messages) connection.publish(invalidationsOf(source), message);
    });
  }

  /** Best effort: without a connection nothing is sent, which the connection keeper reports. */
  #send(send: (connection: NatsConnection) => void): void {
    const connection = this.#connections.current;
    if (!connection || connection.isClosed()) return;
    try {
      send(connection);
      this.#sending.worked();
    } catch (error) {
      this.#sending.failed(natsErrorInWords(error));
    }
  }

  async forget(source: string, aggregateType: string, aggregateId: string): Promise<void> {
    const { connection, manager } = await this.#jetstream(source);
    try {
      await manager.streams.purge(streamOf(source), { filter: subjectOf({ source, aggregateType, aggregateId }) });
    } catch (error) {
      this.#ensured.delete(connection);
      throw new Error(natsErrorInWords(error), { cause: error });
    }
  }

  async subscribe(source: string, name: string, listener: EventListener): Promise<() => Promise<void>> {
    const onEvents = (events: readonly LoggedEvent[]) => listener.onEvents(events);
    const durable = `${name}_from_${source}`;
    const consumer = new NatsConsumer({ source, durable, logger: this.#logger, timers: this.#time, onEvents });
    const events = this.#begin(`events of ${source}`, (...parameters) => consumer.receive(...parameters));
    const ends = this.#receive(`end positions of ${source}`, endPositionsOf(source), (message) => {
      const end = message.json<EndPosition>();
      if (this.#terms.accepts(source, end.term)) listener.onEndPosition(end);
    });
    return async () => {
      await Promise.all([this.#end(events), this.#end(ends)]);
      await consumer.stop();
    };
  }

  async subscribeToInvalidations(source: string, listener: InvalidationListener): Promise<() => void> {
    const subscription = this.#receive(`invalidations of ${source}`, invalidationsOf(source), (message) => {
      const invalidations = message.json<Invalidations>();
      if (this.#terms.accepts(source, invalidations.term)) listener.onInvalidations(source, invalidations);
    });
    return () => void this.#end(subscription);
  }

  connected(): boolean {
    return this.#connections.current !== null;
  }

  problem(): string | null {
    if (this.#connections.problem !== null) return this.#connections.problem;
    for (const { problem } of this.#subscriptions) if (problem !== null) return problem;
    return this.#sending.cause;
  }

  async close(): Promise<void> {
    this.#closed.abort();
    this.#sending.stop();
    await Promise.all([...this.#subscriptions].map((subscription) => this.#end(subscription)));
    await this.#connections.close();
  }

  #begin(what: string, receive: (...parameters: Parameters<NatsConsumer['receive']>) => Promise<void>) {
    const subscription = new NatsSubscription({
      connections: this.#connections,
      logger: this.#logger,
      time: this.#time,
      what,
      receive,
    });
    this.#subscriptions.add(subscription);
    return subscription;
  }

  async #end(subscription: NatsSubscription): Promise<void> {
    this.#subscriptions.delete(subscription);
    await subscription.stop();
  }

  #receive(what: string, subject: string, read: (message: Msg) => void): NatsSubscription {
    let reported = false;
    const onMessage = (message: Msg) => {
      try {
        read(message);
      } catch (error) {
        if (!reported) this.#logger.warn({ err: error }, `a message with ${what} could not be read`);
        reported = true;
      }
    };
    return this.#begin(what, (connection, working, signal) =>
      receiveSubject(connection, { subject, onMessage, timers: this.#time }, working, signal),
    );
  }

  async #jetstream(source: string) {
    const connection = await this.#openConnection();
    try {
      const manager = await connection.jetstreamManager({ checkAPI: false, timeout: REQUEST_TIMEOUT_MS });
      await this.#ensureStream(connection, manager, source);
      return { connection, manager, jetstream: connection.jetstream({ timeout: REQUEST_TIMEOUT_MS }) };
    } catch (error) {
      throw new Error(natsErrorInWords(error), { cause: error });
    }
  }

  async #openConnection(): Promise<NatsConnection> {
    if (this.#closed.signal.aborted) throw new Error('The event bus is closed.');
    if (this.#connections.problem !== null) throw new Error(this.#connections.problem);
    const timeout = timeoutSignal(CONNECTION_TIMEOUT_MS, this.#time);
    try {
      return await this.#connections.open(timeout.signal);
    } catch (error) {
      throw new Error('NATS cannot be reached', { cause: error });
    } finally {
      timeout.end();
    }
  }

  async #ensureStream(connection: NatsConnection, manager: JetStreamManager, source: string): Promise<void> {
    const ensured = this.#ensured.get(connection) ?? new Set();
    if (ensured.has(source)) return;
    await ensureStream(manager, source);
    this.#ensured.set(connection, ensured.add(source));
  }
}

/** Splits events into batches that may be sent before any of them is acknowledged. */
function* batches(events: readonly LoggedEvent[]): Generator<{ readonly event: LoggedEvent; readonly text: string }[]> {
  let batch: { event: LoggedEvent; text: string }[] = [];
  let bytes = 0;
  for (const event of events) {
    const text = JSON.stringify(event);
    if (batch.length === MAX_UNACKNOWLEDGED || (batch.length > 0 && bytes + text.length > MAX_UNACKNOWLEDGED_BYTES)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push({ event, text });
    bytes += text.length;
  }
  if (batch.length > 0) yield batch;
}

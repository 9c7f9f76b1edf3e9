import type { InvalidationListener, Invalidations } from '@tributary/consistency';
import type { LoggedEvent } from './event.js';

/** The end of a service's event log. It is announced at intervals, so that consumers also learn that nothing happened. */
export interface EndPosition {
  readonly position: number;
  /**
   * Milliseconds since 1970: everything committed before this time has a position up to `position`. Measured before the owner read its
   * database. 0 when that holds for no time: the relay has not reached the end of its outbox yet.
   */
  readonly at: number;
  /** The term of the relay that announces it; announcements of an earlier term are ignored. */
  readonly term?: number;
}

export interface EventListener {
  /** Resolves when the events have taken effect; when it rejects they are delivered again. An event may be delivered more than once. */
  onEvents(events: readonly LoggedEvent[]): Promise<void>;
  onEndPosition(end: EndPosition): void;
}

/**
 * Carries events from the services that own them to those that consume them, in order. It may deliver late, twice, or (when its storage
 * is lost) not at all: consumers read what is missing from the owner's event log.
 *
 * @example
 * ```ts
 * import assert from 'node:assert/strict';
 * import { type EventBus, InProcessBus } from '@tributary/bus';
 *
 * const bus: EventBus = new InProcessBus();
 * const ends: number[] = [];
 * const onEvents = async () => undefined;
 * const unsubscribe = await bus.subscribe('orders', 'users', { onEvents, onEndPosition: (end) => ends.push(end.position) });
 * bus.announce('orders', { position: 812, at: Date.now() });
 * await unsubscribe();
 * assert.deepEqual(ends, [812]);
 * ```
 */
export interface EventBus {
  /**
   * Resolves when the events are stored, in the order given. An event that is too large for the bus is left out: consumers read it
   * from the event log.
   *
   * @param mayGoOn called before each batch is sent; false stops the publishing
   * @returns for each event that was left out, its size and the limit, in words
   * @throws when the events are not stored
   */
  publish(source: string, events: readonly LoggedEvent[], mayGoOn?: () => boolean): Promise<readonly string[]>;
  /** Sends the end position of an event log to the present subscribers. Best effort; never throws. */
  announce(source: string, end: EndPosition): void;
  /** Deletes what it stores of an aggregate whose personal data was erased. */
  forget(source: string, aggregateType: string, aggregateId: string): Promise<void>;
  /** Subscribes to a source's events. `consumer` stays the same from run to run. @returns how to unsubscribe */
  subscribe(source: string, consumer: string, listener: EventListener): Promise<() => Promise<void>>;
  /**
   * Sends invalidations to the present listeners. Best effort; never throws. Invalidations that are too large for one message are split;
   * a single position that is too large is left out, which listeners notice as a gap.
   */
  publishInvalidations(source: string, invalidations: Invalidations): void;
  /** Receives the invalidations that are sent from now on, also on later connections. @returns how to unsubscribe */
  subscribeToInvalidations(source: string, listener: InvalidationListener): Promise<() => void>;
  /** Whether the bus can be reached now. */
  connected(): boolean;
  /** Why subscriptions receive nothing; null while they receive, and during the first 2 s of a fault. */
  problem(): string | null;
  close(): Promise<void>;
}

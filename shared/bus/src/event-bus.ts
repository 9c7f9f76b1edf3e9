import type { InvalidationListener, Invalidations } from '@tributary/consistency';
import type { LoggedEvent } from './event.js';

/** How far a event log goes, told again and again so that a quiet one is known to be quiet. */
export interface EndPosition {
  readonly position: number;
  /**
   * Everything that was committed before this time, in milliseconds since 1970, is at or below `position`; taken before the owner looked.
   * 0 when it is not known of any time: the relay has not seen the end of its outbox yet.
   */
  readonly at: number;
  /** The term of the relay that says so; those of an earlier term than one that was heard of are ignored. */
  readonly term?: number;
}

export interface EventListener {
  /** Resolves when the events took effect; when it rejects they come again. May see an event more than once. */
  onEvents(events: readonly LoggedEvent[]): Promise<void>;
  onEndPosition(head: EndPosition): void;
}

/**
 * Carries events from the services that own them to those that keep copies. It may deliver late, twice, or (when it loses its
 * memory) not at all; consumers make up for it from the owner's event log. It keeps the order.
 */
export interface EventBus {
  /**
   * Resolves when the events are kept safely, in the order given. An event that is too large for the bus is left out: consumers read it
   * from the event log.
   *
   * @param mayGoOn asked before each part that is sent
   * @returns what is too large, and by how much, for each event that was left out
   * @throws when they are not kept
   */
  publish(source: string, events: readonly LoggedEvent[], mayGoOn?: () => boolean): Promise<readonly string[]>;
  /** Best effort; never throws. */
  announce(source: string, head: EndPosition): void;
  /** Forgets what it keeps of an aggregate, whose personal data was erased. */
  forget(source: string, aggregateType: string, aggregateId: string): Promise<void>;
  /** Listens to a source under a name that stays the same from run to run. @returns how to stop */
  subscribe(source: string, consumer: string, listener: EventListener): Promise<() => Promise<void>>;
  /** Best effort, to the present listeners; never throws. What is too large for one message is split, and a single position that is too large is left out, which listeners notice as a gap. */
  publishInvalidations(source: string, invalidations: Invalidations): void;
  /** Hears from now on what is told of a source; also after the connection was lost. @returns how to stop */
  subscribeToInvalidations(source: string, listener: InvalidationListener): Promise<() => void>;
  /** Whether it can be reached now. */
  connected(): boolean;
  /** Why it does not bring what is subscribed to; null while it does, and during the first 2 s of a fault. */
  problem(): string | null;
  close(): Promise<void>;
}

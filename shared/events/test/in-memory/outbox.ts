import type { LoggedEvent } from '@tributary/bus';
import type { EventLog, OutboxStore } from '@tributary/events';
import type { Clock } from '@tributary/server';
import { EventsDeletedError } from '../../src/outbox/outbox.ts';

const LEASE_MS = 2000;
/** How many events one deletion looks at. */
const DELETED_AT_ONCE = 1000;

interface Recorded {
  readonly event: Omit<LoggedEvent, 'position'>;
  readonly recordedAt: number;
}

/** A service's outbox and event log in memory, with its lease and the positions of its consumers. */
export class InMemoryOutbox {
  readonly #clock: Clock;
  readonly #listeners = new Set<() => void>();
  readonly #consumers = new Map<string, number>();
  #unnumbered: Recorded[] = [];
  /** The events after `#deletedTo`, in order. */
  #log: Recorded[] = [];
  #published = 0;
  #deletedTo = 0;
  #leader: symbol | null = null;
  #term = 0;
  #leaseUntil = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Commits events, and notifies the relays. */
  commit(...events: Recorded['event'][]): void {
    const recordedAt = this.#clock.now();
    this.#unnumbered.push(...events.map((event) => ({ event, recordedAt })));
    for (const notify of this.#listeners) notify();
  }

  /** The outbox as one relay sees it. */
  store(): OutboxStore {
    const relay = Symbol('relay');
    return {
      claimLead: async (limit) => this.#claimLead(relay, limit),
      releaseLead: async () => {
        if (this.#leader === relay) this.#leader = null;
      },
      readPublished: async () => Math.max(this.#published, this.#deletedTo),
      readEvents: async (after, upTo, limit) => this.#read(after, Math.min(upTo, this.#endPosition), limit),
      markPublished: async (position, term) => {
        if (term === this.#term) this.#published = Math.max(this.#published, position);
      },
      deleteOldEvents: async (retentionMs, declared) => this.#deleteOldEvents(retentionMs, declared),
      readOldestUnpublishedMs: async () => {
        const [oldest] = [...this.#log.slice(Math.max(0, this.#published - this.#deletedTo)), ...this.#unnumbered];
        return oldest ? this.#clock.now() - oldest.recordedAt : 0;
      },
      readBacklog: async () => this.#endPosition - this.#published + this.#unnumbered.length,
      watchCommits: (onCommit) => {
        this.#listeners.add(onCommit);
        queueMicrotask(onCommit);
        return async () => void this.#listeners.delete(onCommit);
      },
    };
  }

  /** The event log as other services see it. */
  eventLog(): EventLog {
    return {
      read: async (after, limit, signal) => {
        signal?.throwIfAborted();
        this.#assignPositions(Number.POSITIVE_INFINITY);
        if (after < this.#deletedTo)
          throw new EventsDeletedError(`The event log begins after position ${this.#deletedTo}.`);
        return { head: this.#endPosition, more: false, events: this.#read(after, this.#endPosition, limit) };
      },
      reportPosition: async (consumer, position, signal) => {
        signal?.throwIfAborted();
        this.#consumers.set(consumer, position);
      },
    };
  }

  get #endPosition(): number {
    return this.#deletedTo + this.#log.length;
  }

  #assignPositions(limit: number): number {
    const assigned = this.#unnumbered.splice(0, limit);
    this.#log.push(...assigned);
    return assigned.length;
  }

  #claimLead(relay: symbol, limit: number): Awaited<ReturnType<OutboxStore['claimLead']>> {
    const now = this.#clock.monotonic();
    const isFree = this.#leader === null || this.#leaseUntil <= now;
    if (this.#leader !== relay && !isFree) return null;
    if (this.#leader !== relay) this.#term = Math.max(this.#term + 1, Math.floor(this.#clock.now()));
    if (this.#leader !== relay || this.#leaseUntil - now <= LEASE_MS * 0.75) this.#leaseUntil = now + LEASE_MS;
    this.#leader = relay;
    const assigned = this.#assignPositions(limit);
    return { term: this.#term, remainingMs: this.#leaseUntil - now, assigned, endPosition: this.#endPosition };
  }

  #read(after: number, upTo: number, limit: number): LoggedEvent[] {
    const from = Math.max(after, this.#deletedTo);
    return this.#log
      .slice(from - this.#deletedTo, Math.min(upTo - this.#deletedTo, from - this.#deletedTo + limit))
      .map(({ event }, i) => ({ ...event, position: from + 1 + i }));
  }

  #deleteOldEvents(retentionMs: number, declared: readonly string[]) {
    const missing = declared.filter((name) => !this.#consumers.has(name));
    if (missing.length > 0) return { more: false, missing };
    const applied = Math.min(this.#published, ...this.#consumers.values(), this.#deletedTo + DELETED_AT_ONCE);
    const deletable = this.#log.slice(0, Math.max(0, applied - this.#deletedTo));
    const firstRecent = deletable.findIndex(({ recordedAt }) => recordedAt >= this.#clock.now() - retentionMs);
    const count = firstRecent === -1 ? deletable.length : firstRecent;
    this.#log.splice(0, count);
    this.#deletedTo += count;
    return { more: count === DELETED_AT_ONCE, missing };
  }
}

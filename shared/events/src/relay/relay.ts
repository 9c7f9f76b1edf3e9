import type { EventBus, LoggedEvent } from '@tributary/bus';
import { type Health, settledWithin, systemTime, type Time } from '@tributary/server';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { BusEraser } from './bus-eraser.js';
import type { InvalidatedBy } from './invalidation-of.js';
import { sendInvalidations } from './invalidation-sender.js';
import { beginLead, type Lead } from './lead.js';
import type { OutboxStore } from './outbox-store.js';
import { PublishedMarker } from './published-marker.js';
import { Publisher } from './publisher.js';
import { RelayFaults } from './relay-faults.js';
import { addRelayMetrics } from './relay-metrics.js';
import { RetentionJob } from './retention-job.js';

/** The most events that get positions, or are read, in one turn. */
const BATCH = 500;
/** A turn runs at least this often: it announces the end position, and finds missed notifications and expired leases. */
const TICK_MS = 250;
/** How long after a failure the next turn runs. */
const RETRY_MS = 500;
/** When events wait for this time, no relay publishes. Longer than a leader may delay noting what it has published. */
const UNPUBLISHED_MS = 8000;
/** How long `stop` waits for running work, and then for the database: together less than a service waits for one of its parts to close. */
const STOP_MS = 600;
const RELEASE_MS = 400;

export interface RelayOptions {
  readonly source: string;
  readonly store: OutboxStore;
  readonly bus: EventBus;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly health: Health;
  /** The entities that an event invalidates: `Type:id`. */
  readonly invalidatedBy: InvalidatedBy;
  /** How long events are stored after every consumer has applied them, in milliseconds; 0 disables deletion. */
  readonly retentionMs: number;
  /** The declared consumers: nothing is deleted before each of them has reported a position. */
  readonly consumers: readonly string[];
  /** The system's time by default. */
  readonly time?: Time;
}

/**
 * Publishes a service's outbox. One of a service's relays leads: the one that holds the lease in the database.
 *
 * Each turn renews the lease, assigns the next positions to what is committed (so positions have no gaps and never come late), sends
 * invalidations at once, and publishes the events beside that. Neither waits for the other, and a failure of one never stops the other.
 *
 * The leader measures its lease on its own monotonic clock, from before the claim, and checks it before each message: a leader that was
 * stopped for a while sends nothing. What was in transit then is harmless: consumers skip duplicates by position, and messages of an
 * earlier term are ignored. Personal data that arrives late is purged: what is erased in the first seconds of a term is purged again
 * when nothing can be in transit any more.
 */
export class Relay {
  readonly #options: RelayOptions;
  readonly #time: Time;
  readonly #store: OutboxStore;
  readonly #stopped = new AbortController();
  readonly #faults: RelayFaults;
  readonly #marker: PublishedMarker;
  readonly #eraser: BusEraser;
  readonly #publisher: Publisher;
  readonly #retention: RetentionJob;
  #lead: Lead | null = null;
  #wake: () => void = () => undefined;
  #awake = false;
  #stopWatching: () => Promise<void> = async () => undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(options: RelayOptions) {
    this.#options = options;
    const { source, store, bus, logger, metrics, health, retentionMs, consumers } = options;
    const time = options.time ?? systemTime;
    const faults = new RelayFaults({ source, logger, health, retentionMs, time });
    const holds = (lead: Lead) => this.#holds(lead);
    const marker = new PublishedMarker({ store, timers: time, logger, signal: this.#stopped.signal });
    const onPurged = (lead: Lead) => marker.mark(lead);
    const eraser = new BusEraser({ source, bus, clock: time, fault: faults.unpurged, holds, onPurged });
    this.#time = time;
    this.#store = store;
    this.#faults = faults;
    this.#marker = marker;
    this.#eraser = eraser;
    this.#publisher = new Publisher({
      source,
      bus,
      store,
      clock: time,
      logger,
      metrics,
      faults,
      eraser,
      marker,
      holds,
      announceAfterMs: 2 * TICK_MS,
    });
    this.#retention = new RetentionJob({
      store,
      clock: time,
      logger,
      fault: faults.unretained,
      retentionMs,
      consumers,
    });
    addRelayMetrics(metrics, {
      leads: () => this.#holds(this.#lead),
      backlog: () => store.readBacklog(),
      retentionWaits: () => faults.unretained.cause !== null,
    });
  }

  start(): void {
    this.#stopWatching = this.#store.watchCommits(() => this.#wakeUp());
    this.#running = this.#run();
  }

  /** Gives up the lead. Resolves within a second, whatever hangs. */
  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#wakeUp();
    this.#faults.stop();
    const work = [
      this.#running,
      this.#publisher.running,
      this.#eraser.running,
      this.#retention.running,
      this.#marker.running,
      this.#stopWatching(),
    ];
    // Work that hangs on the event bus does not keep another relay from leading; it sends nothing more.
    await settledWithin(
      STOP_MS,
      work.map(async (part) => part),
      this.#time,
    );
    const { logger } = this.#options;
    const release = this.#store
      .releaseLead()
      .catch((error) => logger.warn({ err: error }, 'the relay could not give up its lead'));
    await this.#within(RELEASE_MS, release);
  }

  #holds(lead: Lead | null): lead is Lead {
    return lead !== null && lead === this.#lead && this.#time.monotonic() < lead.until && !this.#stopped.signal.aborted;
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      try {
        if (await this.#turn()) continue;
      } catch (error) {
        this.#faults.waits.failed(error);
        await this.#time.sleep(RETRY_MS, signal).catch(() => undefined);
      }
      await this.#waitForWork();
    }
  }

  /** @returns whether there may be more to do at once */
  async #turn(): Promise<boolean> {
    // Taken before the database is read: what is committed during that, or during the publishing, is not included.
    const at = this.#time.now();
    const claimedAt = this.#time.monotonic();
    const claim = await this.#store.claimLead(BATCH);
    if (!claim) {
      this.#lead = null;
      await this.#checkLeader();
      return false;
    }
    if (this.#lead?.term === claim.term && claim.endPosition < this.#lead.endPosition) {
      // The database was restored to an earlier moment of this term: this relay and its listeners start again in a new term.
      this.#lead = null;
      await this.#store.releaseLead();
      return true;
    }
    const lead = this.#lead?.term === claim.term ? this.#lead : await this.#begin(claim.term);
    lead.until = claimedAt + claim.remainingMs;
    lead.endPosition = claim.endPosition;
    // After a full batch there may be more that was committed before.
    if (claim.assigned < BATCH) lead.complete = { position: claim.endPosition, at };
    const events = await this.#store.readEvents(lead.invalidated, lead.endPosition, BATCH);
    this.#sendInvalidations(lead, events);
    this.#publisher.publish(lead, events);
    this.#eraser.purgeAgain(lead);
    this.#retention.start(this.#holds(lead));
    this.#publisher.forgetTooLarge();
    // What is committed during the publishing is handled together; but invalidations do not wait for a bus that hangs.
    if (this.#publisher.running !== null) await this.#within(TICK_MS, this.#publisher.running);
    return this.#publisher.running !== null || claim.assigned === BATCH || events.length === BATCH;
  }

  /** Another relay leads: its faults are its own to report, unless no relay publishes. */
  async #checkLeader(): Promise<void> {
    this.#faults.leaveToLeader();
    const oldestMs = await this.#store.readOldestUnpublishedMs();
    if (oldestMs < UNPUBLISHED_MS) this.#faults.waits.worked();
    else
      this.#faults.waits.failed(
        `the oldest was committed ${Math.round(oldestMs / 1000)} s ago, and no relay publishes it`,
      );
  }

  async #begin(term: number): Promise<Lead> {
    const published = await this.#store.readPublished();
    this.#lead = beginLead(term, published, this.#time.monotonic());
    return this.#lead;
  }

  #sendInvalidations(lead: Lead, events: readonly LoggedEvent[]): void {
    if (!this.#holds(lead)) return;
    const { source, bus, invalidatedBy } = this.#options;
    sendInvalidations({ source, bus, invalidatedBy, fault: this.#faults.notInvalidated }, lead, events);
  }

  #wakeUp(): void {
    // A relay that does not lead only looks for an expired lease at intervals; it ignores commits.
    if (this.#lead === null && !this.#stopped.signal.aborted) return;
    this.#awake = true;
    this.#wake();
  }

  async #waitForWork(): Promise<void> {
    // Something may have been committed since the last turn; its notification has arrived already.
    if (!this.#awake && !this.#stopped.signal.aborted) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await this.#within(TICK_MS, woken);
    }
    this.#awake = false;
  }

  /** Waits for a promise that never rejects, at most `ms` milliseconds. */
  async #within(ms: number, promise: Promise<unknown>): Promise<void> {
    const over = new AbortController();
    await Promise.race([promise, this.#time.sleep(ms, over.signal).catch(() => undefined)]);
    over.abort();
  }
}

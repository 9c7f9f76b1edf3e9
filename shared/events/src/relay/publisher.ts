import type { EventBus, LoggedEvent } from '@tributary/bus';
import type { Clock } from '@tributary/server';
import type { Logger } from 'pino';
import { Counter, type Registry } from 'prom-client';
import type { BusEraser } from './bus-eraser.js';
import { LATE_MS, type Lead } from './lead.js';
import type { OutboxStore } from './outbox-store.js';
import type { PublishedMarker } from './published-marker.js';
import type { RelayFaults } from './relay-faults.js';

/** How many events are published together. */
const BATCH = 500;
/** How long after a failure the outbox is published again. */
const RETRY_MS = 500;
/** An event too large for the bus is a fault for this time. */
const TOO_LARGE_MS = 10_000;

export interface PublisherOptions {
  readonly source: string;
  readonly bus: EventBus;
  readonly store: OutboxStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly faults: RelayFaults;
  readonly eraser: BusEraser;
  readonly marker: PublishedMarker;
  /** Whether the relay still leads. */
  readonly holds: (lead: Lead) => boolean;
  /** The end position is announced when publishing takes longer than this. */
  readonly announceAfterMs: number;
}

/** Publishes events in the order of positions, at least once, and announces the end position of the event log. */
export class Publisher {
  readonly #options: PublisherOptions;
  readonly #tooLargeEvents: Counter;
  #running: Promise<void> | null = null;
  #againAt = 0;
  /** Halved after a failure, so that a part of the events may get through. */
  #batch = BATCH;
  #tooLargeUntil = 0;

  constructor(options: PublisherOptions) {
    this.#options = options;
    this.#tooLargeEvents = new Counter({
      name: 'events_too_large_total',
      help: 'Events that were left out of the event bus because of their size',
      registers: [options.metrics],
    });
  }

  /** The publishing that runs. */
  get running(): Promise<void> | null {
    return this.#running;
  }

  /** Starts to publish unless it runs, and announces the end position when nothing is left. @param events the next ones, if they were read already */
  publish(lead: Lead, events: readonly LoggedEvent[]): void {
    const { clock, faults, holds, announceAfterMs } = this.#options;
    const isDone = lead.published >= lead.endPosition;
    if (isDone) faults.waits.worked();
    // Consumers read the event log when the bus does not deliver up to an announced position. So it is also announced while the bus accepts nothing.
    const isLate = clock.monotonic() - lead.announcedAt > announceAfterMs;
    if (isDone || isLate) this.#announce(lead);
    if (isDone || this.#running || clock.monotonic() < this.#againAt) return;
    this.#running = this.#publishAll(lead, events)
      .catch((error) => {
        this.#batch = Math.max(1, Math.floor(this.#batch / 2));
        this.#againAt = clock.monotonic() + RETRY_MS;
        lead.settledAt = clock.monotonic() + LATE_MS;
        if (holds(lead)) faults.waits.failed(error);
      })
      .finally(() => {
        this.#running = null;
      });
  }

  /** Ends the fault of events that are too large, some time after the last of them. */
  forgetTooLarge(): void {
    const { clock, faults } = this.#options;
    if (clock.monotonic() > this.#tooLargeUntil) faults.tooLarge.worked();
  }

  async #publishAll(lead: Lead, given: readonly LoggedEvent[]): Promise<void> {
    const { source, bus, store, faults, eraser, marker, holds } = this.#options;
    let events = given.slice(0, this.#batch);
    do {
      // Read again after a failure: personal data may have been erased since.
      if (events[0]?.position !== lead.published + 1) {
        events = await store.readEvents(lead.published, lead.endPosition, this.#batch);
      }
      const last = events.at(-1);
      if (!last) throw new Error(`the event log has no events after position ${lead.published}`);
      await eraser.purgeBefore(lead, events);
      if (!holds(lead)) return;
      this.#noteTooLarge(await bus.publish(source, events, () => holds(lead)));
      lead.published = last.position;
      this.#batch = BATCH;
      faults.waits.worked();
      marker.mark(lead);
      this.#announce(lead);
      events = [];
    } while (lead.published < lead.endPosition);
  }

  #noteTooLarge(causes: readonly string[]): void {
    const last = causes.at(-1);
    if (last === undefined) return;
    const { clock, faults } = this.#options;
    this.#tooLargeEvents.inc(causes.length);
    this.#tooLargeUntil = clock.monotonic() + TOO_LARGE_MS;
    faults.tooLarge.failed(last);
  }

  #announce(lead: Lead): void {
    const { source, bus, clock, logger, holds } = this.#options;
    if (!holds(lead)) return;
    lead.announcedAt = clock.monotonic();
    try {
      bus.announce(source, { position: lead.endPosition, at: lead.complete.at, term: lead.term });
    } catch (error) {
      logger.debug({ err: error }, 'the end of the event log could not be announced');
    }
  }
}

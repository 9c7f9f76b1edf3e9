import type { Clock, Fault } from '@tributary/server';
import type { Logger } from 'pino';
import type { OutboxStore } from './outbox-store.js';

const INTERVAL_MS = 2000;

export interface RetentionJobOptions {
  readonly store: OutboxStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly fault: Fault;
  /** How long events are stored after every consumer has applied them, in milliseconds; 0 disables deletion. */
  readonly retentionMs: number;
  /** The declared consumers: nothing is deleted before each of them has reported a position. */
  readonly consumers: readonly string[];
}

/** Deletes old events at intervals, beside the publishing. */
export class RetentionJob {
  readonly #options: RetentionJobOptions;
  #running: Promise<void> | null = null;
  #dueAt = 0;

  constructor(options: RetentionJobOptions) {
    this.#options = options;
  }

  /** The deletion that runs. */
  get running(): Promise<void> | null {
    return this.#running;
  }

  /** Starts a deletion if one is due. @param holds whether the relay leads */
  start(holds: boolean): void {
    const { store, clock, logger, fault, retentionMs, consumers } = this.#options;
    if (retentionMs === 0 || this.#running || clock.monotonic() < this.#dueAt || !holds) return;
    this.#dueAt = clock.monotonic() + INTERVAL_MS;
    this.#running = store
      .deleteOldEvents(retentionMs, consumers)
      .then(({ more, missing }) => {
        if (more) this.#dueAt = 0;
        if (missing.length === 0) fault.worked();
        else
          fault.failed(
            `EVENT_LOG_CONSUMERS has ${missing.map((name) => `"${name}"`).join(', ')}, of which no position is known`,
          );
      })
      .catch((error) => logger.debug({ err: error }, 'old events could not be deleted; trying again'))
      .finally(() => {
        this.#running = null;
      });
  }
}

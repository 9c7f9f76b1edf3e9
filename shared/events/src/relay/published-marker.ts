import type { Timers } from '@tributary/server';
import type { Logger } from 'pino';
import type { Lead } from './lead.js';
import type { OutboxStore } from './outbox-store.js';

/** How long a published position waits until it is written to the database. */
const MARK_MS = 100;

export interface PublishedMarkerOptions {
  readonly store: OutboxStore;
  readonly timers: Timers;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Writes the published position to the database at most ten times a second. Events published twice after a restart are skipped by consumers. */
export class PublishedMarker {
  readonly #options: PublishedMarkerOptions;
  #running: Promise<void> | null = null;
  #next = { position: 0, term: 0 };

  constructor(options: PublishedMarkerOptions) {
    this.#options = options;
  }

  /** The write that is scheduled or runs. */
  get running(): Promise<void> | null {
    return this.#running;
  }

  /** Schedules a write. Events after an erasure that is not purged yet do not count as published: the next leader purges it again. */
  mark(lead: Lead): void {
    const unpurged = [...lead.purges.values()].map(({ position }) => position - 1);
    this.#next = { position: Math.min(lead.published, ...unpurged), term: lead.term };
    this.#running ??= this.#write().finally(() => {
      this.#running = null;
    });
  }

  async #write(): Promise<void> {
    const { store, timers, logger, signal } = this.#options;
    let marked: { readonly position: number; readonly term: number } | null = null;
    while (marked !== this.#next) {
      await timers.sleep(MARK_MS, signal).catch(() => undefined);
      marked = this.#next;
      try {
        await store.markPublished(marked.position, marked.term);
      } catch (error) {
        logger.debug(
          { err: error },
          'the published position could not be stored; events are published again after a restart',
        );
        return;
      }
    }
  }
}

import { anySignal, type Clock, type Turns } from '@tributary/server';
import type { Logger } from 'pino';
import { type EventLogPage, EventsDeletedError } from '../outbox/outbox.js';
import type { BatchApplier } from './batch-applier.js';
import type { ConsumerFaults } from './consumer-faults.js';
import type { ConsumerProgress } from './consumer-progress.js';
import type { CopyState } from './copy-state.js';
import type { EventSubscription } from './event-subscription.js';

export interface EventLogReaderOptions<Tables> {
  readonly subscription: EventSubscription<Tables>;
  readonly state: CopyState;
  readonly progress: ConsumerProgress<Tables>;
  readonly applier: BatchApplier<Tables>;
  readonly faults: ConsumerFaults;
  readonly database: Turns;
  readonly logger: Logger;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** A page of the owner's event log. */
interface Page extends EventLogPage {
  /** It has the events after this position. */
  readonly after: number;
  /** When it was requested, by the monotonic clock. */
  readonly requestedAt: number;
}

/** Reads the owner's event log from the consumer's position on, and applies it. Callers run one `readTo` at a time. */
export class EventLogReader<Tables> {
  readonly #options: EventLogReaderOptions<Tables>;
  #catchingUp = false;
  #reportedMismatch = false;

  constructor(options: EventLogReaderOptions<Tables>) {
    this.#options = options;
  }

  /** Whether more than a page is left to read. */
  get catchingUp(): boolean {
    return this.#catchingUp;
  }

  /** Applies the event log up to a position, or to its end. @returns whether the copy is in sync with its owner */
  async readTo(until: number): Promise<boolean> {
    const { state, progress, applier, database, signal: stopped } = this.#options;
    const reading = anySignal([stopped]);
    const { signal } = reading;
    let next: { readonly after: number; readonly page: Promise<Page> } | null = null;
    try {
      for (;;) {
        await database.take(() => progress.load());
        if (state.position >= until || stopped.aborted) return false;
        const page: Page = await (next?.after === state.position ? next.page : this.#readPage(state.position, signal));
        const { after, requestedAt, head: endPosition, more, events } = page;
        const last = events.at(-1)?.position ?? after;
        this.#catchingUp = until === Number.POSITIVE_INFINITY && last < endPosition;
        // The next page is requested while this one is applied.
        next =
          last > after && last < Math.min(endPosition, until)
            ? { after: last, page: this.#readPage(last, signal) }
            : null;
        next?.page.catch(() => undefined);
        await applier.apply(events);
        if (after > endPosition) {
          this.reportMismatch('the copy is beyond the end of the event log; rebuild it', after);
          return !more;
        }
        if (state.position >= endPosition) {
          if (!more) state.inSyncAsOf(requestedAt);
          return !more;
        }
      }
    } finally {
      this.#catchingUp = false;
      reading.end();
    }
  }

  /** The owner's event log is shorter than what came from it, for instance because it was restored from a backup. Reported once. */
  reportMismatch(message: string, position: number): void {
    if (this.#reportedMismatch) return;
    this.#reportedMismatch = true;
    const { logger, subscription, state } = this.#options;
    logger.error({ source: subscription.source, position, head: state.endPosition }, message);
  }

  async #readPage(after: number, signal: AbortSignal): Promise<Page> {
    const { subscription, state, applier, faults, clock } = this.#options;
    const requestedAt = clock.monotonic();
    try {
      const page = await subscription.eventLog.read(after, applier.batchSize, signal);
      const whole = page.events.every((event, i) => event.position === after + 1 + i);
      if (!whole || (page.events.length === 0 && after < page.head))
        throw new Error(`The event log of ${subscription.source} has a hole after ${after}.`);
      state.sawEndPosition(page.head);
      faults.unread.worked();
      faults.gone.worked();
      return { ...page, after, requestedAt };
    } catch (error) {
      // After an abort the page is not needed any more.
      if (!signal.aborted) {
        applier.shrink();
        faults.note(error instanceof EventsDeletedError ? faults.gone : faults.unread, error);
      }
      throw error;
    }
  }
}

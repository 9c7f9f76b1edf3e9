import { isErased, type LoggedEvent } from '@tributary/bus';
import type { Turns } from '@tributary/server';
import type { Logger } from 'pino';
import type { ConsumerFaults } from './consumer-faults.js';
import type { ConsumerProgress } from './consumer-progress.js';
import type { CopyState } from './copy-state.js';
import type { DeadLetterStore } from './dead-letter-store.js';
import { applyOrDeadLetter } from './dead-letters.js';
import type { EventSubscription } from './event-subscription.js';

/** The most events that are read from the log, or applied in one transaction, at a time. */
const PAGE = 500;

export interface BatchApplierOptions<Tables> {
  readonly deadLetters: DeadLetterStore<Tables>;
  readonly subscription: EventSubscription<Tables>;
  readonly state: CopyState;
  readonly progress: ConsumerProgress<Tables>;
  readonly faults: ConsumerFaults;
  /** Work on the position runs one after the other. */
  readonly database: Turns;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Applies consecutive events in batches, one transaction each. A batch that fails is halved; an event that fails alone becomes a dead letter. */
export class BatchApplier<Tables> {
  readonly #options: BatchApplierOptions<Tables>;
  #batchSize = PAGE;

  constructor(options: BatchApplierOptions<Tables>) {
    this.#options = options;
  }

  /** How many events are read, or applied, at a time: fewer after a failure, which may be because there were too many. */
  get batchSize(): number {
    return this.#batchSize;
  }

  shrink(): void {
    this.#batchSize = Math.ceil(this.#batchSize / 2);
  }

  /**
   * Applies events in batches. Returns early when they do not follow the position (any more).
   *
   * @throws when they cannot be applied now
   */
  async apply(events: readonly LoggedEvent[]): Promise<void> {
    const { state, database, faults, signal } = this.#options;
    for (;;) {
      const before = state.position;
      const rest = events.filter((event) => event.position > before);
      if (rest[0]?.position !== before + 1) return;
      signal.throwIfAborted();
      const batch = rest.slice(0, this.#batchSize);
      try {
        await database.take(() => this.#commit(batch));
        faults.noteCommit(null);
        this.#batchSize = Math.min(PAGE, this.#batchSize * 2);
      } catch (error) {
        faults.noteCommit(error);
        // A statement that takes too long may succeed on a smaller batch. After other failures, the next attempt is smaller, too.
        this.#batchSize = Math.ceil(batch.length / 2);
        if (isTooLong(error) && batch.length > 1) continue;
        throw error;
      }
      if (state.position <= before) return;
    }
  }

  async #commit(events: readonly LoggedEvent[]): Promise<void> {
    const { deadLetters, subscription, progress } = this.#options;
    if (!events.some(subscription.filter)) return progress.skip(events);
    await applyOrDeadLetter(events, {
      deadLetters,
      apply: subscription.apply,
      commit: (part, apply) => progress.commit(part, subscription.filter, apply),
      onDeadLetter: (event, error) => this.#reportParked(event, error),
    });
  }

  /** Without the event's data: it may be personal. */
  #reportParked(event: LoggedEvent, error: string): void {
    const { id, source, type, position, aggregateType, aggregateId } = event;
    this.#options.logger.error(
      { event: id, source, type, position, aggregate: `${aggregateType} ${aggregateId}`, error },
      isErased(event)
        ? 'a deletion could not be applied: its personal data stays in this copy until it is'
        : 'an event could not be applied: it has no effect, and what follows of its aggregate waits behind it',
    );
  }
}

/** Whether the server ended a transaction because a statement took too long, or because it was idle for too long. */
function isTooLong(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === '57014' || code === '25P03';
}

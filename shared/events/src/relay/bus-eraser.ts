import type { EventBus, LoggedEvent } from '@tributary/bus';
import type { Clock, Fault } from '@tributary/server';
import type { Lead } from './lead.js';

/** How long after a failure the purge is repeated. */
const RETRY_MS = 500;
/** At most this many aggregates wait to be purged; then publishing waits for them. */
const MAX_PURGES = 1000;

export interface BusEraserOptions {
  readonly source: string;
  readonly bus: EventBus;
  readonly clock: Clock;
  readonly fault: Fault;
  /** Whether the relay still leads. */
  readonly holds: (lead: Lead) => boolean;
  /** Called after every aggregate was purged. */
  readonly onPurged: (lead: Lead) => void;
}

/**
 * Purges from the bus what it has of aggregates whose personal data was erased, before the erasure itself is published.
 *
 * A purge that fails is repeated, also by the next leader: until then the erasure is not noted as published. What is purged before the
 * lead is settled is purged again then, because the bus may still receive what was sent before.
 */
export class BusEraser {
  readonly #options: BusEraserOptions;
  #running: Promise<void> | null = null;
  #againAt = 0;

  constructor(options: BusEraserOptions) {
    this.#options = options;
  }

  /** The repeated purge that runs. */
  get running(): Promise<void> | null {
    return this.#running;
  }

  /** Purges the aggregates that `events` erase. @throws when too many purges wait */
  async purgeBefore(lead: Lead, events: readonly LoggedEvent[]): Promise<void> {
    const { fault } = this.#options;
    for (const event of events) {
      const key = `${event.aggregateType} ${event.aggregateId}`;
      if (event.data.erased === true && !lead.purges.has(key)) lead.purges.set(key, event);
    }
    if (fault.cause !== null && lead.purges.size > MAX_PURGES)
      throw new Error(`${lead.purges.size} aggregates wait to be purged from the event bus`);
    if (fault.cause === null) await this.#purge(lead);
  }

  /** Repeats what failed, and what was purged before the lead was settled. Does not wait for it. */
  purgeAgain(lead: Lead): void {
    const { clock, fault } = this.#options;
    const now = clock.monotonic();
    const isDue = fault.cause === null ? now >= lead.settledAt : now >= this.#againAt;
    if (lead.purges.size === 0 || this.#running || !isDue) return;
    this.#running = this.#purge(lead).finally(() => {
      this.#running = null;
    });
  }

  async #purge(lead: Lead): Promise<void> {
    const { source, bus, clock, fault, holds, onPurged } = this.#options;
    for (const [key, event] of [...lead.purges]) {
      if (!holds(lead)) return;
      const isSettled = clock.monotonic() >= lead.settledAt;
      try {
        await bus.forget(source, event.aggregateType, event.aggregateId);
        if (isSettled && lead.purges.get(key) === event) lead.purges.delete(key);
      } catch (error) {
        this.#againAt = clock.monotonic() + RETRY_MS;
        fault.failed(error);
        return;
      }
    }
    fault.worked();
    onPurged(lead);
  }
}

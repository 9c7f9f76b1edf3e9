import type { LoggedEvent } from '@tributary/bus';
import type { ConsumerFaults } from './consumer-faults.js';
import type { ConsumerStore } from './consumer-store.js';
import type { CopyState } from './copy-state.js';
import type { ApplyEvents } from './event-subscription.js';
import type { StoredCopyState } from './positions.js';

/** How often the in-sync time is written to the database. */
const NOTE_MS = 3000;

export interface ConsumerProgressOptions<Tables> {
  readonly store: ConsumerStore<Tables>;
  readonly state: CopyState;
  readonly faults: ConsumerFaults;
  /** Aborted when the consumer stops: nothing is committed afterwards. */
  readonly signal: AbortSignal;
  /** Called with what an earlier process stored. */
  readonly onRecalled: (stored: StoredCopyState) => void;
}

/**
 * The position of a consumer in memory and in the database. Callers run its methods one after the other.
 *
 * The position in memory may be ahead of the stored one by events that the filter rejects: they have no effect.
 */
export class ConsumerProgress<Tables> {
  readonly #options: ConsumerProgressOptions<Tables>;
  /** The last position that was read from, or written to, the database. */
  #stored = 0;
  /** The in-sync time that was last written to the database, by the monotonic clock. */
  #notedInSyncAt = Number.NEGATIVE_INFINITY;

  constructor(options: ConsumerProgressOptions<Tables>) {
    this.#options = options;
  }

  get stored(): number {
    return this.#stored;
  }

  /** Whether the in-sync time in the database is old enough to be written again. */
  get hasNewInSyncTime(): boolean {
    const { inSyncAt } = this.#options.state;
    return inSyncAt !== null && inSyncAt - this.#notedInSyncAt >= NOTE_MS;
  }

  /** Reads what an earlier process stored. */
  async recall(): Promise<void> {
    const { store, state, onRecalled } = this.#options;
    const stored = await store.readState();
    this.#stored = stored.position;
    state.recall(stored);
    onRecalled(stored);
  }

  /** Reads the position again: another process of this service may have advanced it. */
  async load(): Promise<void> {
    const { store, state, faults } = this.#options;
    try {
      if (!state.recalled) await this.recall();
      const { position: stored } = await store.readState();
      // Events we skipped need not be read again, unless the position was set back.
      if (stored < this.#stored || stored > state.position) state.moveTo(stored);
      this.#stored = stored;
      faults.noteDatabaseRead();
    } catch (error) {
      faults.note(faults.unapplied, error);
      throw error;
    }
  }

  /** Moves past events that have no effect here. The position is stored with the next effect or by `keep`. */
  skip(events: readonly LoggedEvent[]): void {
    const { state } = this.#options;
    const last = events.at(-1);
    if (!last) return;
    state.sawEndPosition(last.position);
    if (events[0]?.position === state.position + 1) state.moveTo(last.position);
  }

  /** Commits the effect of events that follow the position, together with the new position. */
  async commit(
    events: readonly LoggedEvent[],
    filter: (event: LoggedEvent) => boolean,
    apply: ApplyEvents<Tables>,
  ): Promise<void> {
    const { store, state, signal } = this.#options;
    signal.throwIfAborted();
    const whenCommitted: (() => void)[] = [];
    const reached = await store.locked(async (transaction, position) => {
      const { stored } = position;
      // Another instance may have advanced the position. Events we skipped have no effect, so re-applying from its position is safe.
      const before = stored < this.#stored ? stored : Math.max(stored, state.position);
      const fresh = events.filter((event) => event.position > before);
      const last = fresh.at(-1);
      if (!last || fresh[0]?.position !== before + 1) return { stored, position: before };
      const matching = fresh.filter(filter);
      if (matching.length > 0) await apply(transaction, matching, (run) => whenCommitted.push(run));
      await position.store(last.position);
      return { stored: last.position, position: last.position };
    });
    for (const run of whenCommitted) run();
    this.#stored = reached.stored;
    state.sawEndPosition(reached.position);
    state.moveTo(reached.position);
  }

  /** Stores the position if it moved without an effect, and the in-sync time if it is newer than the stored one by `sinceMs`. */
  async keep(sinceMs = NOTE_MS): Promise<void> {
    const { store, state } = this.#options;
    const { position, inSyncAt } = state;
    const isNewer = inSyncAt !== null && inSyncAt - this.#notedInSyncAt > sinceMs;
    if (position <= this.#stored) {
      if (!isNewer) return;
      // Another process of this service may have stored it; reading takes no lock.
      const noted = (await store.readState()).inSyncAt;
      if (noted !== null && inSyncAt - noted < sinceMs) {
        this.#notedInSyncAt = noted;
        return;
      }
    }
    await store.locked(async (_transaction, locked) => {
      // The position was set back.
      if (locked.stored < this.#stored) return;
      if (locked.stored < position) await locked.store(position);
      if (isNewer) await locked.storeInSyncTime(inSyncAt, sinceMs);
    });
    this.#stored = Math.max(this.#stored, position);
    if (isNewer) this.#notedInSyncAt = inSyncAt;
  }
}

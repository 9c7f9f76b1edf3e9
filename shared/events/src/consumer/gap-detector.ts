import type { Time } from '@tributary/server';
import type { CopyState } from './copy-state.js';

/** How long after an end position beyond ours the position in the database is read. */
const CHECK_MS = 20;
/** How long the bus may take to deliver up to an end position before the event log is read. Up to half as much is added, so that of several processes one reads. */
const GAP_MS = 200;

export interface GapDetectorOptions {
  readonly state: CopyState;
  readonly time: Time;
  readonly signal: AbortSignal;
  /** Reads the position from the database: another process of this service may have advanced it. */
  readonly loadPosition: () => Promise<void>;
  /** Reads the event log to its end. */
  readonly readEventLog: () => Promise<unknown>;
}

/** Reads the event log when the bus does not deliver the events up to an end position: it leaves out events that are too large, and may lose others. */
export class GapDetector {
  readonly #options: GapDetectorOptions;
  #checking = false;
  #filling = false;

  constructor(options: GapDetectorOptions) {
    this.#options = options;
  }

  /** The owner's event log ends at `position`, which the consumer has not reached. */
  async check(position: number): Promise<void> {
    if (this.#checking) return;
    this.#checking = true;
    const { state, time, signal, loadPosition } = this.#options;
    try {
      await time.sleep(CHECK_MS, signal);
      if (state.position < position) await loadPosition();
      if (state.position < position) void this.#fill(position);
    } catch {
      // The consumer stopped, or the database cannot be reached, which the fault of applying events reports.
    } finally {
      this.#checking = false;
    }
  }

  async #fill(position: number): Promise<void> {
    if (this.#filling) return;
    this.#filling = true;
    const { state, time, signal, loadPosition, readEventLog } = this.#options;
    const before = state.position;
    try {
      await time.sleep(GAP_MS * (1 + Math.random() / 2), signal);
      if (state.position !== before || before >= position) return;
      await loadPosition();
      if (state.position === before) await readEventLog();
    } catch {
      // The consumer stopped, or the fault was noted where it occurred. The next end position starts another check.
    } finally {
      this.#filling = false;
    }
  }
}

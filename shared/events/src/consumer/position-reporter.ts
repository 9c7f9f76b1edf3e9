import type { Clock } from '@tributary/server';
import type { EventLog } from '../event-log/event-log-client.js';
import type { ConsumerFaults } from './consumer-faults.js';

/** How often an unchanged position is reported: the owner's database may have been restored meanwhile. */
const REPORT_MS = 60_000;

export interface PositionReporterOptions {
  readonly consumer: string;
  readonly eventLog: EventLog;
  readonly faults: ConsumerFaults;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Reports to the owner which events have been applied, so that its retention keeps the others. */
export class PositionReporter {
  readonly #options: PositionReporterOptions;
  #reported = -1;
  #reportedAt = Number.NEGATIVE_INFINITY;

  constructor(options: PositionReporterOptions) {
    this.#options = options;
  }

  /** Never throws: a failure is noted as a fault. */
  async report(position: number): Promise<void> {
    const { consumer, eventLog, faults, clock, signal } = this.#options;
    if (position === this.#reported && clock.monotonic() - this.#reportedAt < REPORT_MS) return;
    try {
      await eventLog.reportPosition(consumer, position, signal);
      this.#reported = position;
      this.#reportedAt = clock.monotonic();
      faults.unreported.worked();
    } catch (error) {
      faults.note(faults.unreported, error);
    }
  }
}

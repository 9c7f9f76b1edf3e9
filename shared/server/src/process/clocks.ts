import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { Fault } from './fault.js';

/** A difference up to this is left to the correction of timestamps, and not reported. */
const TOLERANCE_MS = 1000;
const LOOK_MS = 1000;

/** A clock that this process's clock is compared with. */
export interface ComparedClock {
  /** Whose it is: the name of a service, or `database`. */
  readonly source: string;
  /** By how many milliseconds it is ahead of this process's clock (negative: behind); null while that is unknown. */
  readonly offsetMs: () => number | null;
  /** What a difference affects, for the log, as the end of a sentence. */
  readonly effect: string;
}

/** Reports clocks that differ from this process's clock by more than a second: in the log, in a metric, and as degraded health. */
export class Clocks {
  readonly #compared: { readonly clock: ComparedClock; readonly fault: Fault }[] = [];
  readonly #logger: Logger;
  readonly #looking = setInterval(() => this.#look(), LOOK_MS).unref();

  constructor(logger: Logger, metrics: Registry) {
    this.#logger = logger;
    const compared = this.#compared;
    new Gauge({
      name: 'clock_offset_seconds',
      help: "How far a service's or the database's clock is from this process's clock, in either direction",
      labelNames: ['source'],
      registers: [metrics],
      aggregator: 'max',
      collect() {
        // An unknown offset has no sample.
        this.reset();
        for (const { clock } of compared) {
          const offsetMs = clock.offsetMs();
          if (offsetMs !== null) this.set({ source: clock.source }, Math.abs(offsetMs) / 1000);
        }
      },
    });
  }

  add(clock: ComparedClock): void {
    const fault = new Fault({
      logger: this.#logger,
      began: `the clock of ${clock.source} and the clock of this process differ by more than a second: ${clock.effect}`,
      ended: `the clock of ${clock.source} and the clock of this process agree again`,
      details: { source: clock.source },
    });
    this.#compared.push({ clock, fault });
  }

  /** Which clock differs, and by how much; null when none does. */
  get problem(): string | null {
    const causes = this.#compared.flatMap(({ fault }) => fault.cause ?? []);
    return causes.length > 0 ? causes.join(' ') : null;
  }

  stop(): void {
    clearInterval(this.#looking);
    for (const { fault } of this.#compared) fault.stop();
  }

  #look(): void {
    for (const { clock, fault } of this.#compared) {
      const offsetMs = clock.offsetMs();
      // While the offset is unknown, the last state holds.
      if (offsetMs === null) continue;
      if (Math.abs(offsetMs) > TOLERANCE_MS) fault.failed(describe(clock.source, offsetMs));
      else fault.worked();
    }
  }
}

function describe(source: string, offsetMs: number): string {
  const seconds = `${(Math.abs(offsetMs) / 1000).toFixed(1)} s`;
  return `The clock of ${source} is about ${seconds} ${offsetMs > 0 ? 'ahead' : 'behind'}.`;
}

import { unlessAborted } from '@tributary/server';
import { Gauge, type Registry } from 'prom-client';

/** Shorter than what scrapers, and the other processes behind a port, wait for. */
const ANSWER_MS = 1000;

export interface DatabaseGauge {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly string[];
  /** Queries the database. @returns a value, or one for each set of labels */
  readonly read: () => Promise<number | readonly Sample[]>;
}

export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/**
 * Adds a gauge that queries the database at each scrape. When the database does not answer within a second, the gauge has no sample
 * rather than a false one; other metrics are not affected. Of the processes behind one port the largest value counts.
 */
export function addDatabaseGauge(metrics: Registry, { name, help, labelNames = [], read }: DatabaseGauge): void {
  new Gauge({
    name,
    help,
    labelNames,
    registers: [metrics],
    aggregator: 'max',
    async collect() {
      const found = await unlessAborted(read(), AbortSignal.timeout(ANSWER_MS)).catch(() => []);
      this.reset();
      // One without labels is reset to 0.
      if (labelNames.length === 0) this.remove();
      if (typeof found === 'number') this.set(found);
      else for (const { labels, value } of found) this.set(labels, value);
    },
  });
}

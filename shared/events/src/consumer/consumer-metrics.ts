import { Gauge, type Registry } from 'prom-client';
import type { Freshness } from './copy-state.js';

/** The freshness of all copies of a service, for Prometheus. */
export class ConsumerMetrics {
  readonly #tracked = new Map<string, () => Freshness>();

  constructor(metrics: Registry) {
    const gauge = (name: string, help: string, read: (freshness: Freshness) => number) => {
      const tracked = this.#tracked;
      new Gauge({
        name,
        help,
        labelNames: ['source'],
        registers: [metrics],
        // Of several processes behind one port, the worst value counts.
        aggregator: 'max',
        collect() {
          for (const [source, freshness] of tracked) this.set({ source }, read(freshness()));
        },
      });
    };
    gauge(
      'copy_lag_seconds',
      'Seconds for which the copy may have been behind its owner; 0 when it is in sync',
      (f) => f.lagSeconds,
    );
    gauge('copy_position', 'Position of the last event that was applied', (f) => f.position);
    gauge('copy_head', "Last known end position of the owner's event log", (f) => f.head);
  }

  track(source: string, freshness: () => Freshness): void {
    this.#tracked.set(source, freshness);
  }
}

import { addDatabaseGauge } from '@tributary/postgres';
import { Gauge, type Registry } from 'prom-client';

export interface RelayReadings {
  readonly leads: () => boolean;
  readonly backlog: () => Promise<number>;
  /** Whether retention waits for a declared consumer. */
  readonly retentionWaits: () => boolean;
}

/** What Prometheus shows of a relay. */
export function addRelayMetrics(metrics: Registry, { leads, backlog, retentionWaits }: RelayReadings): void {
  new Gauge({
    name: 'relay_leading',
    help: '1 while this process publishes the outbox',
    registers: [metrics],
    aggregator: 'max',
    collect() {
      this.set(leads() ? 1 : 0);
    },
  });
  addDatabaseGauge(metrics, {
    name: 'relay_backlog_events',
    help: 'Events that are committed and not yet published',
    read: backlog,
  });
  new Gauge({
    name: 'retention_waiting',
    help: '1 while retention deletes nothing because a declared consumer has no position, else 0',
    registers: [metrics],
    aggregator: 'max',
    collect() {
      this.set(retentionWaits() ? 1 : 0);
    },
  });
}

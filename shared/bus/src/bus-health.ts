import type { HttpService } from '@tributary/server';
import { Gauge } from 'prom-client';
import type { EventBus } from './event-bus.js';

/** Shows at `/health/ready` and `/metrics` whether a process has its event bus. */
export function reportBus({ health, metrics }: Pick<HttpService, 'health' | 'metrics'>, bus: EventBus): void {
  health.add({ name: 'event bus', required: false, check: () => bus.problem() });
  new Gauge({
    name: 'bus_connected',
    help: '1 while the event bus can be reached and every subscription receives, else 0',
    registers: [metrics],
    aggregator: 'min',
    collect() {
      this.set(bus.connected() && bus.problem() === null ? 1 : 0);
    },
  });
}

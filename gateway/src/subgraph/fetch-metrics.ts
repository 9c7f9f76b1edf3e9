import type { Clock } from '@tributary/server';
import { Gauge, Histogram, type Registry } from 'prom-client';
import type { FetchError } from './fetch-error.js';
import type { Interceptor } from './interceptor.js';

/** The metrics of all subgraphs. */
export class FetchMetrics {
  readonly #durations: Histogram<'subgraph' | 'outcome'>;
  readonly #circuits: Gauge<'subgraph'>;
  readonly #clock: Clock;

  constructor(registry: Registry, clock: Clock) {
    this.#clock = clock;
    this.#durations = new Histogram({
      name: 'gateway_subgraph_fetch_duration_seconds',
      help: 'Duration of a fetch from a subgraph',
      labelNames: ['subgraph', 'outcome'] as const,
      buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
      registers: [registry],
    });
    this.#circuits = new Gauge({
      name: 'gateway_subgraph_circuit_open',
      help: '1 while the circuit breaker of a subgraph is open',
      labelNames: ['subgraph'] as const,
      registers: [registry],
      aggregator: 'max',
    });
  }

  /** Measures the fetches from one subgraph, by outcome: `ok`, `errors`, or the code of a FetchError. */
  measure(subgraph: string): Interceptor {
    // By outcome: looking up the labels for each fetch is slow.
    const observers = new Map<string, (seconds: number) => void>();
    const observe = (outcome: string, startedAt: number) => {
      let observer = observers.get(outcome);
      if (!observer) {
        const labelled = this.#durations.labels({ subgraph, outcome });
        observer = (seconds) => labelled.observe(seconds);
        observers.set(outcome, observer);
      }
      observer((this.#clock.monotonic() - startedAt) / 1000);
    };
    return (next) => (request, origin) => {
      const startedAt = this.#clock.monotonic();
      return next(request, origin).then(
        (result) => {
          observe(result.errors ? 'errors' : 'ok', startedAt);
          return result;
        },
        (error: FetchError) => {
          observe(error.outcome, startedAt);
          throw error;
        },
      );
    };
  }

  /** Reports whether the circuit breaker of a subgraph is open. */
  setCircuitOpen(subgraph: string, isOpen: boolean): void {
    this.#circuits.set({ subgraph }, isOpen ? 1 : 0);
  }
}

import { addDatabaseGauge } from '@tributary/postgres';
import { type Kysely, sql } from 'kysely';
import { Counter, Histogram, type Registry } from 'prom-client';
import type { OrdersTables } from '../storage/tables.js';
import type { Saga } from './saga.js';

interface OpenSagas {
  readonly status: string;
  readonly count: number;
  readonly stuck: number;
  /** Seconds. */
  readonly oldest: number;
}

/** What operators see of placements, for Prometheus. */
export class PlacementMetrics {
  readonly #sagas: Counter<'event'>;
  readonly #steps: Histogram<'step' | 'outcome'>;

  /** @param stuckAfterMs a saga that is not over after this long is stuck; so is one that failed */
  constructor(metrics: Registry, db: Kysely<OrdersTables>, stuckAfterMs: number) {
    this.#sagas = new Counter({
      name: 'sagas_total',
      help: 'Placements that this process saw started, completed, compensated, or failed',
      labelNames: ['event'],
      registers: [metrics],
    });
    for (const event of ['started', 'completed', 'compensated', 'failed']) this.#sagas.inc({ event }, 0);
    this.#steps = new Histogram({
      name: 'saga_step_seconds',
      help: 'From the first command of a step to its outcome',
      labelNames: ['step', 'outcome'],
      buckets: [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60],
      registers: [metrics],
    });
    // Every scrape queries the database once.
    let reading: Promise<OpenSagas[]> | null = null;
    const read = () => {
      reading ??= readOpenSagas(db, stuckAfterMs).finally(() => {
        reading = null;
      });
      return reading;
    };
    addDatabaseGauge(metrics, {
      name: 'sagas_open',
      help: 'Placements that are not over, by status; FAILED waits for an operator',
      labelNames: ['status'],
      read: async () => (await read()).map(({ status, count }) => ({ labels: { status }, value: count })),
    });
    addDatabaseGauge(metrics, {
      name: 'sagas_stuck',
      help: 'Placements that failed, or that are not over after SAGA_STUCK_AFTER',
      read: async () => (await read()).reduce((sum, row) => sum + row.stuck, 0),
    });
    addDatabaseGauge(metrics, {
      name: 'saga_oldest_seconds',
      help: 'Age of the oldest placement that is not over; 0 when all are',
      read: async () => Math.max(0, ...(await read()).map((row) => row.oldest)),
    });
  }

  observe(before: Saga | null, after: Saga, now: Date): void {
    if (!before) this.#sagas.inc({ event: 'started' });
    else if (before.status !== after.status) {
      const event = { COMPLETED: 'completed', COMPENSATED: 'compensated', FAILED: 'failed' }[after.status as string];
      if (event) this.#sagas.inc({ event });
    }
    for (const { name: step, outcome, startedAt } of after.steps) {
      const was = before?.steps.find(({ name }) => name === step)?.outcome;
      if (was !== 'PENDING' || outcome === 'PENDING') continue;
      this.#steps.observe({ step, outcome: outcome.toLowerCase() }, (now.getTime() - Date.parse(startedAt)) / 1000);
    }
  }
}

async function readOpenSagas(db: Kysely<OrdersTables>, stuckAfterMs: number): Promise<OpenSagas[]> {
  const { rows } = await sql<OpenSagas>`
    select status, count(*) as count, extract(epoch from now() - min(started_at))::float8 as oldest,
      count(*) filter (
        where status = 'FAILED' or started_at < now() - ${stuckAfterMs}::float8 * interval '1 ms'
      ) as stuck
    from placement_sagas where finished_at is null group by status
  `.execute(db);
  return rows;
}

import { addDatabaseGauge } from '@tributary/postgres';
import { Fault, type Health, repeat, systemTime, type Time } from '@tributary/server';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { countDeadLetters, retryDeadLetters } from './dead-letters.js';
import type { EventSubscription } from './event-subscription.js';

const INTERVAL_MS = 2000;

export interface DeadLetterWatchOptions<Tables> {
  readonly db: Kysely<Tables>;
  readonly consumer: string;
  readonly subscriptions: readonly EventSubscription<Tables>[];
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly health: Health;
  /** The system's time by default. */
  readonly time?: Time;
}

/**
 * Reports dead letters at `/health/ready`, in the log and as the metric `dead_letters`. Retries those of erased aggregates by itself:
 * that is not left to an operator.
 */
export class DeadLetterWatch<Tables> {
  readonly #options: DeadLetterWatchOptions<Tables>;
  readonly #fault: Fault;
  readonly #time: Time;
  #stop: () => Promise<void> = async () => undefined;

  constructor(options: DeadLetterWatchOptions<Tables>) {
    this.#options = options;
    const { db, logger, metrics, health, time = systemTime } = options;
    this.#time = time;
    this.#fault = new Fault({
      logger,
      time,
      level: 'error',
      began: 'events could not be applied, and have no effect until they are',
      ended: 'there are no dead letters any more',
    });
    health.add({ name: 'dead letters', required: false, check: () => this.#fault.cause });
    // Every process behind a port counts those of the whole service.
    addDatabaseGauge(metrics, {
      name: 'dead_letters',
      help: 'Events that could not be applied, or wait behind one that could not',
      read: () => countDeadLetters(db),
    });
  }

  start(): void {
    const { logger } = this.#options;
    this.#stop = repeat({
      name: 'watch dead letters',
      intervalMs: INTERVAL_MS,
      run: () => this.#look(),
      logger,
      timers: this.#time,
    });
  }

  async stop(): Promise<void> {
    await this.#stop();
    this.#fault.stop();
  }

  async #look(): Promise<boolean> {
    const { db, consumer, subscriptions } = this.#options;
    const count = await countDeadLetters(db);
    if (count === 0) {
      this.#fault.worked();
      return false;
    }
    this.#fault.failed(
      `${count} ${count === 1 ? 'event waits as a dead letter' : 'events wait as dead letters'}: "npm run tributary -- dead-letters list" shows why, "dead-letters retry" applies them after the cause is fixed`,
    );
    await retryDeadLetters(db, consumer, subscriptions, 'erased');
    return false;
  }
}

import { setTimeout as sleep } from 'node:timers/promises';
import { Fault } from '@tributary/server';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { pingDatabase } from './database.js';

const INTERVAL_MS = 1000;

/**
 * Reports in the log, and as `database_up`, whether a service's database answers. Errors that follow from it (`DatabaseAwayError`) are
 * therefore logged at `debug`.
 */
export class DatabaseWatch {
  readonly #stopped = new AbortController();
  readonly #fault: Fault;

  constructor(db: Kysely<never>, logger: Logger, metrics: Registry) {
    const fault = new Fault({
      logger,
      level: 'error',
      began: 'the database does not answer',
      ended: 'the database answers again',
    });
    this.#fault = fault;
    new Gauge({
      name: 'database_up',
      help: '1 while the database answers, else 0',
      registers: [metrics],
      aggregator: 'min',
      collect() {
        this.set(fault.cause === null ? 1 : 0);
      },
    });
    // It cannot reject.
    void this.#follow(db);
  }

  /** A statement got no connection. */
  noteFailure(error: Error): void {
    if (!this.#stopped.signal.aborted) this.#fault.failed(error.message);
  }

  stop(): void {
    this.#stopped.abort();
    this.#fault.stop();
  }

  async #follow(db: Kysely<never>): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      await pingDatabase(db).then(
        () => this.#fault.worked(),
        (error: Error) => this.noteFailure(error),
      );
      await sleep(INTERVAL_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}

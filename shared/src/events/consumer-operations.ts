import type { Kysely } from 'kysely';
import { openDatabase } from '../postgres/database.js';
import {
  type DeadLetter,
  discardDeadLetter,
  listDeadLetters,
  type RetryResult,
  retryDeadLetters,
} from './dead-letters.js';
import type { Feed } from './feed.js';

export interface ConsumerOperationsOptions<Tables> {
  /** The name under which the service keeps its positions and dead letters. */
  readonly consumer: string;
  readonly databaseUrl: string;
  readonly feeds: readonly Feed<Tables>[];
}

/** What an operator does about events that a service could not apply, beside the running service. */
export class ConsumerOperations<Tables> {
  readonly consumer: string;
  protected readonly db: Kysely<Tables>;
  readonly #feeds: readonly Feed<Tables>[];

  constructor({ consumer, databaseUrl, feeds }: ConsumerOperationsOptions<Tables>) {
    this.consumer = consumer;
    this.db = openDatabase({
      url: databaseUrl,
      applicationName: `tributary-${consumer}-operations`,
      maxConnections: 2,
      statementTimeoutMs: 0,
    });
    this.#feeds = feeds;
  }

  deadLetters(): Promise<DeadLetter[]> {
    return listDeadLetters(this.db);
  }

  /** Applies all that is parked, aggregate by aggregate, in order; what fails again stays. */
  retryDeadLetters(): Promise<RetryResult[]> {
    return retryDeadLetters(this.db, this.consumer, this.#feeds);
  }

  /** @returns whether there was such a letter */
  discardDeadLetter(source: string, position: number): Promise<boolean> {
    return discardDeadLetter(this.db, { consumer: this.consumer, source, position });
  }

  close(): Promise<void> {
    return this.db.destroy();
  }
}

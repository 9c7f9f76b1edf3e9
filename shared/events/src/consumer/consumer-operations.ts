import { databaseProblem, openDatabase } from '@tributary/postgres';
import { settingOf } from '@tributary/server';
import type { Kysely } from 'kysely';
import type { DeadLetter } from './dead-letter-store.js';
import { discardDeadLetter, listDeadLetters, type RetryResult, retryDeadLetters } from './dead-letters.js';
import type { EventSubscription } from './event-subscription.js';
import { findGap, type Gap, skipGap } from './gap.js';

/** The running service applies nothing while an operator's transaction holds its position: longer than an owner takes to answer. */
const IDLE_IN_TRANSACTION_MS = 15_000;

export interface ConsumerOperationsOptions<Tables> {
  /** The name under which the service stores its positions and dead letters. */
  readonly consumer: string;
  readonly databaseUrl: string;
  readonly subscriptions: readonly EventSubscription<Tables>[];
}

/**
 * Operators' commands for events that a service could not apply, while the service runs. Where the database cannot be used,
 * every method throws a ConfigurationError that names it and its setting.
 */
export class ConsumerOperations<Tables> {
  readonly consumer: string;
  protected readonly db: Kysely<Tables>;
  readonly #subscriptions: readonly EventSubscription<Tables>[];
  readonly #databaseUrl: string;

  constructor({ consumer, databaseUrl, subscriptions }: ConsumerOperationsOptions<Tables>) {
    this.consumer = consumer;
    this.db = openDatabase({
      url: databaseUrl,
      applicationName: `tributary-${consumer}-operations`,
      maxConnections: 2,
      statementTimeoutMs: 0,
      idleInTransactionTimeoutMs: IDLE_IN_TRANSACTION_MS,
    });
    this.#subscriptions = subscriptions;
    this.#databaseUrl = databaseUrl;
  }

  deadLetters(): Promise<DeadLetter[]> {
    return this.explained(listDeadLetters(this.db));
  }

  /** Applies all dead letters, aggregate by aggregate, in order; those that fail again stay. */
  retryDeadLetters(): Promise<RetryResult[]> {
    return this.explained(retryDeadLetters(this.db, this.consumer, this.#subscriptions));
  }

  /** @returns whether there was such a letter */
  discardDeadLetter(source: string, position: number): Promise<boolean> {
    return this.explained(discardDeadLetter(this.db, { consumer: this.consumer, source, position }));
  }

  /**
   * Finds the gap that keeps this service from reading on in another one's event log.
   *
   * @returns null when it can
   * @throws when the owner does not answer
   */
  async findGap(source: string): Promise<Gap | null> {
    const subscription = this.#subscriptions.find((each) => each.source === source);
    return subscription ? this.explained(findGap(this.db, this.consumer, subscription)) : null;
  }

  /** Continues after the deleted events. @returns false when the service has moved on by itself */
  skipGap(gap: Gap): Promise<boolean> {
    return this.explained(skipGap(this.db, gap));
  }

  /** The services whose events this one applies. */
  get sources(): string[] {
    return this.#subscriptions.map(({ source }) => source);
  }

  close(): Promise<void> {
    return this.db.destroy();
  }

  protected explained<Result>(work: Promise<Result>): Promise<Result> {
    return work.catch((error: unknown) => {
      throw databaseProblem(error, settingOf(this.consumer, 'DATABASE_URL'), this.#databaseUrl) ?? error;
    });
  }
}

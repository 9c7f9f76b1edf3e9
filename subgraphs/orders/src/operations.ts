import { lockPosition } from '@tributary/shared/events/consumer';
import {
  type DeadLetter,
  discardDeadLetter,
  listDeadLetters,
  retryDeadLetters,
} from '@tributary/shared/events/dead-letters';
import { rebuildCopy } from '@tributary/shared/events/rebuild';
import { type Difference, findDifferences, repairDifferences } from '@tributary/shared/events/verify';
import { openDatabase } from '@tributary/shared/postgres/database';
import type { Kysely } from 'kysely';
import { CONSUMER, type Copy, copiesOf, type OwnerSettings } from './copies/copies.js';
import { rebuild as rebuildReadModels } from './projections/order-projection.js';
import type { OrdersTables } from './storage/tables.js';

/** What a retry of one aggregate's dead letters came to. */
export interface RetryResult {
  readonly source: string;
  readonly aggregateType: string;
  readonly aggregateId: string;
  readonly applied: number;
  /** Why the next one could not be applied; null when all were. */
  readonly error: string | null;
}

/** What comparing a copy with its owner came to. */
export interface VerifyResult {
  readonly copy: string;
  readonly differences: readonly Difference[];
  readonly repaired: number;
}

/** What an operator does to the orders service's copies and read models, beside the running service. */
export class OrdersOperations {
  /** What `rebuild` takes. */
  static readonly MODELS = ['users', 'products', 'orders'] as const;

  readonly #db: Kysely<OrdersTables>;
  readonly #copies: readonly Copy[];

  constructor(databaseUrl: string, owners: OwnerSettings) {
    this.#db = openDatabase({
      url: databaseUrl,
      applicationName: 'tributary-orders-operations',
      maxConnections: 2,
      statementTimeoutMs: 0,
    });
    this.#copies = copiesOf(owners);
  }

  deadLetters(): Promise<DeadLetter[]> {
    return listDeadLetters(this.#db);
  }

  /** Applies all that is parked, aggregate by aggregate, in order; what fails again stays. */
  async retryDeadLetters(): Promise<RetryResult[]> {
    const results: RetryResult[] = [];
    for (const copy of this.#copies) {
      const letters = (await this.deadLetters()).filter(({ source }) => source === copy.source);
      for (const { aggregate_type: aggregateType, aggregate_id: aggregateId } of firstOfEach(letters)) {
        const result = await this.#db.transaction().execute(async (transaction) => {
          await lockPosition(transaction, CONSUMER, copy.source);
          // Read again under the lock: more may have been parked since.
          const parked = (await listDeadLetters(transaction)).filter(
            (letter) =>
              letter.source === copy.source &&
              letter.aggregate_type === aggregateType &&
              letter.aggregate_id === aggregateId,
          );
          return retryDeadLetters(transaction, parked, copy.apply);
        });
        results.push({ source: copy.source, aggregateType, aggregateId, ...result });
      }
    }
    return results;
  }

  /** @returns whether there was such a letter */
  discardDeadLetter(source: string, position: number): Promise<boolean> {
    return discardDeadLetter(this.#db, { consumer: CONSUMER, source, position });
  }

  /** Makes a copy (`users`, `products`) or the read models (`orders`) anew. @returns how many events were applied */
  rebuild(model: (typeof OrdersOperations.MODELS)[number], onEvents?: (count: number) => void): Promise<number> {
    const copy = this.#copies.find(({ source }) => source === model);
    return copy ? rebuildCopy(this.#db, CONSUMER, copy, onEvents) : rebuildReadModels(this.#db);
  }

  /** Compares every copy with its owner, and mends what differs when asked to. */
  async verify(repair: boolean): Promise<VerifyResult[]> {
    const results: VerifyResult[] = [];
    for (const copy of this.#copies) {
      const differences = await findDifferences(this.#db, copy);
      const repaired = repair ? await repairDifferences(this.#db, CONSUMER, copy, differences) : 0;
      results.push({ copy: copy.source, differences, repaired });
    }
    return results;
  }

  close(): Promise<void> {
    return this.#db.destroy();
  }
}

function firstOfEach(letters: readonly DeadLetter[]): DeadLetter[] {
  return [
    ...new Map(
      letters.toReversed().map((letter) => [`${letter.aggregate_type} ${letter.aggregate_id}`, letter]),
    ).values(),
  ];
}

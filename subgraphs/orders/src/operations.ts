import {
  ConsumerOperations,
  type Difference,
  findDifferences,
  type Gap,
  rebuildCopy,
  repairDifferences,
} from '@tributary/events';
import { type AuditFinding, audit } from './audit.js';
import { CONSUMER, type Copy, copiesOf, type OwnerSettings } from './copies/copies.js';
import { feedsOf } from './feeds.js';
import type { PlacementSettings } from './placement/placement-batch.js';
import { findPlacement, listOpenSagas, type OpenSaga, tellSaga } from './placement/saga-operations.js';
import { rebuild as rebuildReadModels } from './projections/rebuild.js';
import type { OrdersTables } from './storage/tables.js';

const MAX_LISTED = 1000;
/** What is sent again from here, the service itself sends again after this. */
const PLACEMENT: PlacementSettings = { policy: { stepTimeoutMs: 3000 } };

/** What comparing a copy with its owner came to. */
export interface VerifyResult {
  readonly copy: string;
  readonly differences: readonly Difference[];
  readonly repaired: number;
  /** Events that its owner deleted before they took effect here, where there are any. With `repair`, orders goes on after them. */
  readonly gap?: Gap;
}

/** What an operator does to the orders service's copies, read models and sagas, beside the running service. */
export class OrdersOperations extends ConsumerOperations<OrdersTables> {
  /** What `rebuild` takes. */
  static readonly MODELS = ['users', 'products', 'orders'] as const;

  readonly #copies: readonly Copy[];

  constructor(databaseUrl: string, owners: OwnerSettings) {
    super({ consumer: CONSUMER, databaseUrl, feeds: feedsOf(owners, PLACEMENT) });
    this.#copies = copiesOf(owners);
  }

  /** Makes a copy (`users`, `products`) or the read models (`orders`) anew. @returns how many events were applied */
  rebuild(model: (typeof OrdersOperations.MODELS)[number], onEvents?: (count: number) => void): Promise<number> {
    const copy = this.#copies.find(({ source }) => source === model);
    return this.explained(copy ? rebuildCopy(this.db, CONSUMER, copy, onEvents) : rebuildReadModels(this.db, onEvents));
  }

  /**
   * Compares every copy with its owner, and repairs what differs when asked to, while events flow. Where the owner has deleted
   * events that orders needs to go on, it goes on after them then: what they said is in the copy.
   *
   * @param onFailure told of a copy that could not be compared or repaired; without it, the first of them is an error
   */
  async verify(repair: boolean, onFailure?: (copy: string, error: unknown) => void): Promise<VerifyResult[]> {
    const results: VerifyResult[] = [];
    for (const copy of this.#copies) {
      try {
        // Before the comparison: what comes later than its end is read from the event log.
        const gap = await this.findGap(copy.source);
        const differences = await this.explained(findDifferences(this.db, copy));
        const repaired = repair ? await this.explained(repairDifferences(this.db, CONSUMER, copy, differences)) : 0;
        if (repair && gap) await this.skipGap(gap);
        results.push({ copy: copy.source, differences, repaired, ...(gap && { gap }) });
      } catch (error) {
        if (!onFailure) throw error;
        onFailure(copy.source, error);
      }
    }
    return results;
  }

  /** Checks money and stock in all services, while they run. @throws IncompleteAuditError when one of them does not answer */
  audit(): Promise<AuditFinding[]> {
    return audit(this.db, this.#copies);
  }

  /** Placements that are not over, the oldest first, a thousand of them at most. */
  sagas(): Promise<OpenSaga[]> {
    return this.explained(listOpenSagas(this.db, MAX_LISTED));
  }

  /** @param order the number or the id of an order @returns the id of the order; null when no saga placed it */
  findPlacement(order: string): Promise<string | null> {
    return this.explained(findPlacement(this.db, order));
  }

  /** Asks the other services once more, now. @returns false when the placement is over; null when there is none */
  retrySaga(orderId: string): Promise<boolean | null> {
    return this.explained(tellSaga(this.db, PLACEMENT, orderId, { type: 'Retry' }));
  }

  /** Notes that what failed has been seen to by hand. @returns false when it did not fail; null when there is none */
  resolveSaga(orderId: string, note: string): Promise<boolean | null> {
    return this.explained(tellSaga(this.db, PLACEMENT, orderId, { type: 'Resolve', note }));
  }
}

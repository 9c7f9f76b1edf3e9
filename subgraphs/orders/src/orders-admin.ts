import { SubgraphAdmin } from '@tributary/subgraph';
import { type AuditFinding, audit } from './audit.js';
import type { Copy } from './copies/copies.js';
import type { PlacementSettings } from './placement/placement-batch.js';
import { dispatchToSaga, findPlacement, listOpenSagas, type OpenSaga } from './placement/saga-operations.js';
import { rebuild as rebuildReadModels } from './projections/rebuild.js';
import type { OrdersTables } from './storage/tables.js';
import { subscriptionsOf } from './subscriptions.js';

const MAX_LISTED = 1000;
/** The service itself sends a command again after this time, as it does what an operator has sent. */
const PLACEMENT: PlacementSettings = { policy: { stepTimeoutMs: 3000 } };
/** The name of the read models, beside those of the copies. */
const READ_MODELS = 'orders';

/** What an operator does to the copies, read models and sagas of orders, beside the running service. */
export class OrdersAdmin extends SubgraphAdmin<OrdersTables> {
  readonly #copies: readonly Copy[];

  constructor(databaseUrl: string, copies: readonly Copy[]) {
    super({ name: 'orders', databaseUrl, subscriptions: subscriptionsOf(copies, PLACEMENT), copies });
    this.#copies = copies;
  }

  override get models(): readonly string[] {
    return [...super.models, READ_MODELS];
  }

  override rebuild(model: string, onEvents?: (count: number) => void): Promise<number | null> {
    return model === READ_MODELS
      ? this.explained(rebuildReadModels(this.db, onEvents))
      : super.rebuild(model, onEvents);
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

  /** Sends the awaited commands again, now. @returns false when the placement is over; null when there is none */
  retrySaga(orderId: string): Promise<boolean | null> {
    return this.explained(dispatchToSaga(this.db, PLACEMENT, orderId, { type: 'Retry' }));
  }

  /** Notes that what failed has been resolved by hand. @returns false when it did not fail; null when there is none */
  resolveSaga(orderId: string, note: string): Promise<boolean | null> {
    return this.explained(dispatchToSaga(this.db, PLACEMENT, orderId, { type: 'Resolve', note }));
  }
}

import { Arg, Ctx, ID, Mutation, Resolver } from 'type-graphql';
import type { OrdersContext } from '../context.js';
import type { Orders } from '../orders.js';
import type { Placement } from '../placement/placement.js';
import { showOrder } from './order-resolver.js';
import { Order, PlaceOrderInput } from './order-types.js';

const DEFAULT_WAIT_MS = 2000;

@Resolver(() => Order)
export class PlacementResolver {
  readonly #placement: Placement;
  readonly #orders: Orders;

  constructor(placement: Placement, orders: Orders) {
    this.#placement = placement;
    this.#orders = orders;
  }

  @Mutation(() => Order, {
    description:
      'Reserves the stock, charges the account and confirms the order. Returns when that is done, or with a PENDING order when `waitMs` have passed. A repetition with the same key returns the same order.',
  })
  async placeOrder(
    @Arg('input', () => PlaceOrderInput) { customerId, items, waitMs }: PlaceOrderInput,
    @Arg('idempotencyKey', () => ID) idempotencyKey: string,
    @Ctx() context: OrdersContext,
  ): Promise<Order | null> {
    const request = { customerId, items, waitMs: waitMs ?? DEFAULT_WAIT_MS, deadline: context.deadline };
    const id = await this.#placement.place(request, idempotencyKey, context.origin);
    return this.#after(id);
  }

  @Mutation(() => Order, {
    description:
      'Cancels an order, releases its stock and refunds its payment. Cancelling it twice has the effect of once.',
  })
  async cancelOrder(
    @Arg('id', () => ID) id: string,
    @Arg('reason', () => String) reason: string,
    @Ctx() context: OrdersContext,
  ): Promise<Order | null> {
    await this.#placement.cancel(id, reason, context.origin, context.mayWaitMs());
    return this.#after(id);
  }

  /** The order after a command. Its saga is read with it, so that one does not say more than the other. */
  async #after(id: string): Promise<Order | null> {
    const found = await this.#orders.withSaga(id);
    return found && { ...showOrder(found.order), placement: found.saga };
  }
}

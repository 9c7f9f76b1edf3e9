import { encodeCursor, Page, pageRequest } from '@tributary/shared/connection';
import { badUserInput } from '@tributary/shared/errors';
import { money } from '@tributary/shared/money';
import { DateTime } from '@tributary/shared/scalars';
import Big from 'big.js';
import { Arg, Ctx, Directive, FieldResolver, ID, Int, Query, Resolver, Root } from 'type-graphql';
import type { OrdersContext } from '../context.js';
import type { OrderEventStore } from '../order/event-store.js';
import { replay } from '../order/order.js';
import type { Orders } from '../orders.js';
import { readLine } from '../projections/stored-orders.js';
import type { OrderRow } from '../storage/tables.js';
import {
  Order,
  OrderConnection,
  OrderEvent,
  OrderFilter,
  OrderItem,
  OrderSaga,
  type OrderStatus,
  type SagaStatus,
  User,
} from './order-types.js';

/** Newest first; shared by every list of orders. */
export const NEWEST_FIRST = 'orders:newest';

@Resolver(() => Order)
export class OrderResolver {
  readonly #orders: Orders;
  readonly #events: OrderEventStore;

  constructor(orders: Orders, events: OrderEventStore) {
    this.#orders = orders;
    this.#events = events;
  }

  @Directive('@cacheControl')
  @Query(() => Order, { nullable: true, description: 'By id or by number; exactly one of them.' })
  async order(
    @Arg('id', () => ID, { nullable: true }) id: string | null | undefined,
    @Arg('number', () => String, { nullable: true }) number: string | null | undefined,
    @Arg('asOf', () => DateTime, {
      nullable: true,
      description: 'The order as it stood then, replayed from its events.',
    })
    asOf: Date | null | undefined,
    @Ctx() context: OrdersContext,
  ): Promise<Order | null> {
    if ((id == null) === (number == null)) {
      throw badUserInput('id', 'An order is found by "id" or by "number"; give exactly one of them.', 'ONE_OF');
    }
    const order = await findOrder(context, id != null ? { id } : { number: number as string });
    return order && asOf ? this.#asOf(order.id, asOf) : order;
  }

  @Directive('@cacheControl(of: ["Order"])')
  @Query(() => OrderConnection, { description: 'Newest first.' })
  async orders(
    @Arg('first', () => Int, { nullable: true, defaultValue: 20 }) first: number | null,
    @Arg('after', () => String, { nullable: true }) after: string | null | undefined,
    @Arg('filter', () => OrderFilter, { nullable: true }) givenFilter: OrderFilter | null | undefined,
  ): Promise<Page<Order>> {
    const filter = givenFilter ?? {};
    const page = pageRequest({ first, after }, NEWEST_FIRST, ['date', 'string']);
    const rows = await this.#orders.list(page, filter);
    return new Page(page, rows.map(showOrder), orderCursor, () => this.#orders.count(filter));
  }

  @Directive('@provides(fields: "name email")')
  @FieldResolver(() => User)
  async customer(@Root() order: Order, @Ctx() context: OrdersContext): Promise<User> {
    const copy = await context.userCopy.load(order.customerId);
    return { id: order.customerId, ...(copy && { name: copy.name, email: copy.email }) };
  }

  @FieldResolver(() => [OrderItem])
  async items(@Root() order: Order, @Ctx() context: OrdersContext): Promise<OrderItem[]> {
    const lines = order.past?.order.lines ?? (await context.items.load(order.id)).map(readLine);
    const products = await context.productCopy.loadMany(lines.map((line) => line.productId));
    return lines.map((line, i) => {
      const copy = products[i];
      if (copy instanceof Error) throw copy;
      return {
        product: { id: line.productId, ...(copy && { sku: copy.sku, name: copy.name }) },
        quantity: line.quantity,
        unitPrice: money(line.unitPrice),
        discount: new Big(line.discount).toFixed(),
        lineTotal: money(line.lineTotal),
      };
    });
  }

  @FieldResolver(() => [OrderEvent], { description: 'Every event of this order, oldest first.' })
  async history(@Root() order: Order, @Ctx() context: OrdersContext): Promise<OrderEvent[]> {
    const events = order.past?.events ?? (await context.events.load(order.id));
    return events.map(({ type, version, at, data }) => ({ type, version, at, data }));
  }

  @Directive('@cacheControl(scope: "NONE")') // it moves without an event that says so
  @FieldResolver(() => OrderSaga, {
    nullable: true,
    description: 'How it was placed; null for imported history, which no saga placed.',
  })
  async saga(@Root() order: Order, @Ctx() context: OrdersContext): Promise<OrderSaga | null> {
    const saga = await context.saga.load(order.id);
    if (!saga) return null;
    const steps = saga.steps.map(({ name, outcome, attempts, at, error }) => {
      return { name, outcome, attempts, at: new Date(at), error };
    });
    const { id, status, startedAt, finishedAt } = saga;
    return { id, status: status as SagaStatus, steps, startedAt, finishedAt };
  }

  async #asOf(orderId: string, moment: Date): Promise<Order | null> {
    const events = await this.#events.ofOrders([orderId], moment);
    const state = replay(events);
    if (!state) return null;
    return {
      id: state.id,
      number: state.number,
      status: state.status as OrderStatus,
      total: money(state.total),
      placedAt: state.placedAt,
      updatedAt: state.updatedAt,
      version: state.version,
      rejection: state.rejection,
      customerId: state.customerId,
      past: { order: state, events },
    };
  }
}

/** Also resolves references that other subgraphs make to an order, by either key. */
export async function findOrder(
  context: OrdersContext,
  { id, number }: { readonly id?: string; readonly number?: string },
): Promise<Order | null> {
  const row =
    id !== undefined
      ? await context.order.load(id)
      : number !== undefined
        ? await context.orderByNumber.load(number)
        : null;
  return row && showOrder(row);
}

export function orderCursor(order: Order): string {
  return encodeCursor(NEWEST_FIRST, [order.placedAt.toISOString(), order.id]);
}

export function showOrder(row: OrderRow): Order {
  return {
    id: row.id,
    number: row.number,
    status: row.status as OrderStatus,
    total: money(row.total),
    placedAt: row.placed_at,
    updatedAt: row.updated_at,
    version: row.version,
    rejection: row.rejection,
    customerId: row.customer_id,
  };
}

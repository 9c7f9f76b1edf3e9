import { badUserInput, DateTime } from '@tributary/server';
import { encodeCursor, money, Page, pageRequest, UNKNOWN_USER, unknownProduct } from '@tributary/subgraph';
import Big from 'big.js';
import { Arg, Ctx, Directive, FieldResolver, ID, Int, Query, Resolver, Root } from 'type-graphql';
import type { OrdersContext } from '../context.js';
import type { OrderEventStore } from '../order/event-store.js';
import { replay } from '../order/order.js';
import type { OrderLine, RecordedOrderEvent } from '../order/order-events.js';
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
  OrderStatus,
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
      description: 'Returns the state of the order at this time, replayed from its events.',
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
    requireRange(filter);
    const page = pageRequest({ first, after }, NEWEST_FIRST, ['date', 'string']);
    const rows = await this.#orders.list(page, filter);
    return new Page(page, rows.map(showOrder), orderCursor, () => this.#orders.count(filter));
  }

  @Directive('@provides(fields: "name email")')
  @FieldResolver(() => User, {
    description:
      'A customer that does not exist, or that this service has no copy of yet, has the name "Unknown user".',
  })
  async customer(@Root() order: Order, @Ctx() context: OrdersContext): Promise<User> {
    const copy = await context.userCopy.load(order.customerId);
    const { name, email } = copy ?? UNKNOWN_USER;
    return { id: order.customerId, name, email };
  }

  @FieldResolver(() => [OrderItem])
  async items(@Root() order: Order, @Ctx() context: OrdersContext): Promise<OrderItem[]> {
    const lines = await this.#linesOf(order, context);
    const products = await context.productCopy.loadMany(lines.map((line) => line.productId));
    return lines.map((line, i) => {
      const copy = products[i];
      if (copy instanceof Error) throw copy;
      const { sku, name } = copy ?? unknownProduct(line.productId);
      return {
        product: { id: line.productId, sku, name },
        quantity: line.quantity,
        unitPrice: money(line.unitPrice),
        discount: new Big(line.discount).toFixed(),
        lineTotal: money(line.lineTotal),
      };
    });
  }

  @FieldResolver(() => [OrderEvent], { description: 'Every event of this order, oldest first.' })
  async history(@Root() order: Order, @Ctx() context: OrdersContext): Promise<OrderEvent[]> {
    const events = await this.#eventsOf(order, context);
    return events.map(({ type, version, at, data }) => ({ type, version, at, data }));
  }

  @Directive('@cacheControl(scope: "NONE")') // it moves without an event that says so
  @FieldResolver(() => OrderSaga, {
    nullable: true,
    description:
      'How it was placed. Null for imported history, which no saga placed, and with `asOf`, unless the saga was over by then.',
  })
  async saga(@Root() order: Order, @Ctx() context: OrdersContext): Promise<OrderSaga | null> {
    const saga = order.placement !== undefined ? order.placement : await context.saga.load(order.id);
    if (!saga) return null;
    // A saga keeps its present state only, which is that of then when it has not changed since.
    if (order.past && !(saga.finishedAt && saga.finishedAt <= order.past.asOf)) return null;
    const steps = saga.steps.map(({ name, outcome, attempts, at, error }) => {
      return { name, outcome, attempts, at: new Date(at), error };
    });
    const { id, status, startedAt, finishedAt } = saga;
    return { id, status: status as SagaStatus, steps, startedAt, finishedAt };
  }

  /** The events that made the order what it is shown as: one that was added meanwhile is left out. */
  async #eventsOf(order: Order, context: OrdersContext): Promise<readonly RecordedOrderEvent[]> {
    if (order.past) return order.past.events;
    return (await context.events.load(order.id)).filter(({ version }) => version <= order.version);
  }

  /** The lines that make the total which is shown. They may be repriced while the order is pending, and never after. */
  async #linesOf(order: Order, context: OrdersContext): Promise<readonly OrderLine[]> {
    if (order.past) return order.past.order.lines;
    if (order.status === OrderStatus.PENDING) return replay(await this.#eventsOf(order, context))?.lines ?? [];
    return (await context.items.load(order.id)).map(readLine);
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
      past: { order: state, events, asOf: moment },
    };
  }
}

function requireRange({ placedAfter, placedBefore }: OrderFilter): void {
  if (placedAfter == null || placedBefore == null || placedAfter <= placedBefore) return;
  const [after, before] = [placedAfter.toISOString(), placedBefore.toISOString()];
  throw badUserInput(
    'filter.placedAfter',
    `"placedAfter" (${after}) is later than "placedBefore" (${before}).`,
    'EMPTY_RANGE',
  );
}

/** Also resolves references that other subgraphs make to an order, by either key. */
export async function findOrder(
  context: OrdersContext,
  { id, number }: { readonly id?: string; readonly number?: string },
): Promise<Order | null> {
  if (typeof id === 'string') return show(await context.order.load(id));
  if (typeof number === 'string') return show(await context.orderByNumber.load(number));
  return null;
}

const show = (row: OrderRow | null) => row && showOrder(row);

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

import { badUserInput, conflict } from '@tributary/server';
import { requireQuantity, requireReference, requireText } from '@tributary/subgraph';
import Big from 'big.js';
import type { Order } from './order.js';
import type { OrderEvent, OrderLine } from './order-events.js';

const MAX_LINES = 100;
const MAX_QUANTITY = 10_000;

/** A command to an order. */
export interface PlaceOrder {
  readonly type: 'PlaceOrder';
  readonly number: string;
  readonly customerId: string;
  readonly items: readonly OrderedItem[];
  /** Unit price by product id, from the copy; the prices that the products service reserves at replace it. */
  readonly quotes: ReadonlyMap<string, string>;
}

export interface OrderedItem {
  readonly productId: string;
  readonly quantity: number;
}

/** The prices of its products are these. */
export interface RepriceOrder {
  readonly type: 'RepriceOrder';
  readonly prices: ReadonlyMap<string, string>;
}

export interface ConfirmOrder {
  readonly type: 'ConfirmOrder';
}

export interface RejectOrder {
  readonly type: 'RejectOrder';
  readonly reason: string;
}

export interface CancelOrder {
  readonly type: 'CancelOrder';
  readonly reason: string;
}

export type OrderCommand = PlaceOrder | RepriceOrder | ConfirmOrder | RejectOrder | CancelOrder;

/**
 * What a command makes happen to an order: its next events; none when the order is in that state already. Pure.
 *
 * @param order null before it is placed
 * @throws ApiError BAD_USER_INPUT, or CONFLICT, with the rule that was broken
 */
export function decide(order: Order | null, command: OrderCommand): OrderEvent[] {
  if (command.type === 'PlaceOrder') return place(order, command);
  if (!order) throw conflict('ORDER_NOT_PLACED', 'The order was not placed.');
  switch (command.type) {
    case 'RepriceOrder':
      return reprice(order, command);
    case 'ConfirmOrder':
      return fromPending(order, 'CONFIRMED', { type: 'OrderConfirmed', data: {} });
    case 'RejectOrder':
      return fromPending(order, 'REJECTED', { type: 'OrderRejected', data: { reason: command.reason } });
    case 'CancelOrder':
      return cancel(order, command);
  }
}

/** The items of an order as a client gave them, checked. @throws ApiError BAD_USER_INPUT */
export function requireItems(items: readonly OrderedItem[]): OrderedItem[] {
  if (items.length === 0) throw badUserInput('items', '"items" must have at least one item.', 'EMPTY');
  if (items.length > MAX_LINES) {
    throw badUserInput('items', `An order may have at most ${MAX_LINES} items, got ${items.length}.`, 'TOO_MANY');
  }
  return items.map(({ productId, quantity }, i) => ({
    productId: requireReference(`items[${i}].productId`, productId),
    quantity: requireQuantity(`items[${i}].quantity`, quantity, 1, MAX_QUANTITY),
  }));
}

function place(order: Order | null, { number, customerId, items, quotes }: PlaceOrder): OrderEvent[] {
  if (order) throw conflict('ORDER_PLACED', `The order ${order.number} was placed already.`);
  const lines = requireItems(items).map(({ productId, quantity }) =>
    priced({ productId, quantity, discount: '0' }, quotes.get(productId) ?? '0.00'),
  );
  const customer = requireReference('customerId', customerId);
  return [
    { type: 'OrderPlaced', data: { number, customerId: customer, currency: 'USD', lines, total: totalOf(lines) } },
  ];
}

function reprice(order: Order, { prices }: RepriceOrder): OrderEvent[] {
  requirePending(order, 'repriced');
  const lines = order.lines.map((line) => priced(line, prices.get(line.productId) ?? line.unitPrice));
  const same = lines.every((line, i) => line.unitPrice === order.lines[i]?.unitPrice);
  return same ? [] : [{ type: 'OrderRepriced', data: { lines, total: totalOf(lines) } }];
}

function fromPending(order: Order, target: 'CONFIRMED' | 'REJECTED', event: OrderEvent): OrderEvent[] {
  if (order.status === target) return [];
  requirePending(order, target.toLowerCase());
  return [event];
}

function cancel(order: Order, { reason }: CancelOrder): OrderEvent[] {
  if (order.status === 'CANCELLED') return [];
  if (order.status === 'REJECTED') {
    throw conflict('ORDER_REJECTED', `The order ${order.number} was rejected; there is nothing to cancel.`, 'id');
  }
  return [{ type: 'OrderCancelled', data: { reason: requireText('reason', reason, 500) } }];
}

function requirePending(order: Order, target: string): void {
  if (order.status === 'PENDING') return;
  const is = order.status.toLowerCase();
  throw conflict(`ORDER_${order.status}`, `The order ${order.number} is ${is} and cannot be ${target}.`, 'id');
}

function priced(line: Pick<OrderLine, 'productId' | 'quantity' | 'discount'>, unitPrice: string): OrderLine {
  const { productId, quantity, discount } = line;
  const share = new Big(1).minus(discount);
  const lineTotal = new Big(unitPrice).times(quantity).times(share).toFixed(2);
  return { productId, quantity, unitPrice, discount, lineTotal };
}

function totalOf(lines: readonly OrderLine[]): string {
  return lines.reduce((sum, { lineTotal }) => sum.plus(lineTotal), new Big(0)).toFixed(2);
}

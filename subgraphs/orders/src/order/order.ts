import type { OrderLine, RecordedOrderEvent } from './order-events.js';

export type OrderStatusName = 'PENDING' | 'CONFIRMED' | 'REJECTED' | 'CANCELLED';

/** An order as its events made it. */
export interface Order {
  readonly id: string;
  readonly number: string;
  readonly status: OrderStatusName;
  readonly customerId: string;
  /** ISO 4217 code. */
  readonly currency: string;
  readonly lines: readonly OrderLine[];
  readonly total: string;
  readonly placedAt: Date;
  readonly updatedAt: Date;
  readonly version: number;
  readonly rejection: string | null;
}

/** A stored stream of events does not make an order. That is a fault of ours, never of a client. */
export class BrokenOrderStreamError extends Error {
  override readonly name = 'BrokenOrderStreamError';
}

/**
 * What an order becomes by its next event. Pure: the same events make the same order, always.
 *
 * @throws BrokenOrderStreamError when the event cannot follow
 */
export function evolve(order: Order | null, event: RecordedOrderEvent): Order {
  const expected = (order?.version ?? 0) + 1;
  if (event.version !== expected) {
    throw new BrokenOrderStreamError(`Order ${event.orderId}: expected event ${expected}, got event ${event.version}.`);
  }
  if (event.type === 'OrderPlaced') return place(order, event);
  if (!order) throw new BrokenOrderStreamError(`Order ${event.orderId} begins with ${event.type}, not OrderPlaced.`);

  const changed = { ...order, version: event.version, updatedAt: event.at };
  switch (event.type) {
    case 'OrderRepriced':
      return { ...changed, lines: event.data.lines, total: event.data.total };
    case 'OrderConfirmed':
      return { ...changed, status: 'CONFIRMED' };
    case 'OrderRejected':
      return { ...changed, status: 'REJECTED', rejection: event.data.reason };
    case 'OrderCancelled':
      return { ...changed, status: 'CANCELLED' };
  }
}

/** The order that a whole stream makes; null for an empty one. */
export function replay(events: readonly RecordedOrderEvent[]): Order | null {
  return events.reduce<Order | null>(evolve, null);
}

function place(order: Order | null, event: RecordedOrderEvent & { readonly type: 'OrderPlaced' }): Order {
  if (order) throw new BrokenOrderStreamError(`Order ${event.orderId} was placed twice.`);
  const { number, customerId, currency, lines, total } = event.data;
  return {
    id: event.orderId,
    number,
    status: 'PENDING',
    customerId,
    currency,
    lines,
    total,
    placedAt: event.at,
    updatedAt: event.at,
    version: event.version,
    rejection: null,
  };
}

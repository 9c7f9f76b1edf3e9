import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BrokenOrderStreamError, evolve, replay } from './order.js';
import type { OrderEvent, RecordedOrderEvent } from './order-events.js';

const placed: OrderEvent = {
  type: 'OrderPlaced',
  data: {
    number: 'N-1',
    customerId: 'C-1',
    currency: 'USD',
    lines: [{ productId: 'P-1', quantity: 2, unitPrice: '5.00', discount: '0', lineTotal: '10.00' }],
    total: '10.00',
  },
};
const confirmed: OrderEvent = { type: 'OrderConfirmed', data: {} };
const rejected: OrderEvent = { type: 'OrderRejected', data: { reason: 'out of stock' } };
const cancelled: OrderEvent = { type: 'OrderCancelled', data: { reason: 'changed my mind' } };

const stream = (...events: OrderEvent[]): RecordedOrderEvent[] =>
  events.map((event, i) => ({ ...event, orderId: 'O-1', version: i + 1, at: new Date(Date.UTC(2020, 0, i + 1)) }));

describe('an order is what its events made it', () => {
  test.each([
    ['PENDING', [placed], null],
    ['CONFIRMED', [placed, confirmed], null],
    ['REJECTED', [placed, rejected], 'out of stock'],
    ['CANCELLED', [placed, confirmed, cancelled], null],
  ] as const)('%s', (status, events, rejection) => {
    const order = replay(stream(...events));
    expect(order).toMatchObject({
      id: 'O-1',
      number: 'N-1',
      status,
      rejection,
      total: '10.00',
      version: events.length,
      placedAt: new Date('2020-01-01'),
      updatedAt: new Date(Date.UTC(2020, 0, events.length)),
    });
  });

  test('no events, no order', () => {
    expect(replay([])).toBeNull();
  });

  test('a stream that cannot be is refused', () => {
    expect(() => replay(stream(confirmed))).toThrow(BrokenOrderStreamError);
    expect(() => replay(stream(placed, placed))).toThrow(/placed twice/);
    expect(() => replay(stream(placed, confirmed).toReversed())).toThrow(/expected event 1, got event 2/);
  });

  test('it may be replayed in one go or event by event from any point', () => {
    const followers = fc.array(fc.constantFrom(confirmed, rejected, cancelled), { maxLength: 8 });
    fc.assert(
      fc.property(followers, fc.nat(8), (events, cut) => {
        const whole = stream(placed, ...events);
        const first = replay(whole.slice(0, cut));
        expect(whole.slice(cut).reduce(evolve, first)).toEqual(replay(whole));
      }),
    );
  });
});

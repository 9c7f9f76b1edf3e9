import { ApiError } from '@tributary/server';
import Big from 'big.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { evolve, type Order } from './order.js';
import { decide, type OrderCommand } from './order-commands.js';
import type { OrderEvent } from './order-events.js';

const amount = fc.integer({ min: 1, max: 1_000_000 }).map((cents) => new Big(cents).div(100).toFixed(2));
const productId = fc.constantFrom('P-1', 'P-2', 'P-3', 'P-4');
const items = fc.array(fc.record({ productId, quantity: fc.integer({ min: 1, max: 10_000 }) }), {
  minLength: 1,
  maxLength: 10,
});
const prices = fc.dictionary(productId, amount).map((byId) => new Map(Object.entries(byId)));
const reason = fc.constantFrom('out of stock', 'changed my mind');

const placing = fc.record({
  type: fc.constant('PlaceOrder' as const),
  number: fc.constant('N-1'),
  customerId: fc.constant('C-1'),
  items,
  quotes: prices,
});
const later = fc.oneof(
  fc.record({ type: fc.constant('RepriceOrder' as const), prices }),
  fc.record({ type: fc.constant('ConfirmOrder' as const) }),
  fc.record({ type: fc.constant('RejectOrder' as const), reason }),
  fc.record({ type: fc.constant('CancelOrder' as const), reason }),
);

/** What a command makes of an order; the order as it was, and the refusal, when it is refused. */
function attempt(
  order: Order | null,
  command: OrderCommand,
): { order: Order | null; events: OrderEvent[]; refused: unknown } {
  try {
    const events = decide(order, command);
    const after = events.reduce<Order | null>(
      (state, event) =>
        evolve(state, { ...event, orderId: 'O-1', version: (state?.version ?? 0) + 1, at: new Date('2020-01-01') }),
      order,
    );
    return { order: after, events, refused: null };
  } catch (refused) {
    return { order, events: [], refused };
  }
}

describe('whatever is asked of an order, in whatever sequence', () => {
  test('its total is the sum of its lines, each quantity × price, and every product and quantity stays as ordered', () => {
    fc.assert(
      fc.property(placing, fc.array(later, { maxLength: 12 }), (place, commands) => {
        let { order } = attempt(null, place);
        for (const command of commands) {
          order = attempt(order, command).order;
          const lines = order?.lines ?? [];
          expect(lines.map(({ productId, quantity }) => ({ productId, quantity }))).toEqual(place.items);
          for (const line of lines) {
            expect(new Big(line.unitPrice).times(line.quantity).toFixed(2)).toBe(line.lineTotal);
          }
          expect(lines.reduce((sum, line) => sum.plus(line.lineTotal), new Big(0)).toFixed(2)).toBe(order?.total);
        }
      }),
    );
  });

  test('its status goes from PENDING to CONFIRMED or REJECTED, to CANCELLED from the first two, and nowhere else', () => {
    const ways: Record<string, readonly string[]> = {
      PENDING: ['PENDING', 'CONFIRMED', 'REJECTED', 'CANCELLED'],
      CONFIRMED: ['CONFIRMED', 'CANCELLED'],
      REJECTED: ['REJECTED'],
      CANCELLED: ['CANCELLED'],
    };
    fc.assert(
      fc.property(placing, fc.array(later, { maxLength: 12 }), (place, commands) => {
        let { order } = attempt(null, place);
        for (const command of commands) {
          const next = attempt(order, command);
          expect(ways[order?.status as string]).toContain(next.order?.status);
          if (next.refused !== null) {
            expect(next.refused).toBeInstanceOf(ApiError);
            expect((next.refused as ApiError).extensions).toMatchObject({
              code: 'CONFLICT',
              reason: expect.any(String),
            });
          }
          order = next.order;
        }
      }),
    );
  });

  test('the same command again makes nothing happen', () => {
    fc.assert(
      fc.property(placing, fc.array(later, { minLength: 1, maxLength: 12 }), (place, commands) => {
        let { order } = attempt(null, place);
        for (const command of commands) {
          const once = attempt(order, command);
          if (once.refused === null) expect(attempt(once.order, command).events).toEqual([]);
          order = once.order;
        }
      }),
    );
  });

  test('it is placed once, and nothing happens to it before', () => {
    fc.assert(
      fc.property(placing, later, (place, command) => {
        expect(() => decide(null, command)).toThrow('The order was not placed.');
        expect(() => decide(attempt(null, place).order, place)).toThrow('was placed already');
      }),
    );
  });
});

test('a refusal says the rule in words', () => {
  const { order } = attempt(null, {
    type: 'PlaceOrder',
    number: 'N-1',
    customerId: 'C-1',
    items: [{ productId: 'P-1', quantity: 1 }],
    quotes: new Map([['P-1', '5.00']]),
  });
  const confirmed = attempt(order, { type: 'ConfirmOrder' }).order;
  const rejected = attempt(order, { type: 'RejectOrder', reason: 'no' }).order;
  expect(() => decide(confirmed, { type: 'RejectOrder', reason: 'no' })).toThrow(
    'The order N-1 is confirmed and cannot be rejected.',
  );
  expect(() => decide(rejected, { type: 'CancelOrder', reason: 'no' })).toThrow(
    'The order N-1 was rejected; there is nothing to cancel.',
  );
  expect(() => decide(order, { type: 'CancelOrder', reason: ' ' })).toThrow('"reason" must not be empty.');
});

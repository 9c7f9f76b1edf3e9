import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Advance,
  advance,
  COMPENSATION_ATTEMPTS,
  FORWARD_ATTEMPTS,
  isFinished,
  type Saga,
  type SagaCommand,
  type SagaInput,
  startSaga,
} from './saga.js';

const policy = { stepTimeoutMs: 1000 };
const now = new Date('2026-01-01T00:00:00Z');
const start = () => startSaga('O-1', now, policy, 0);
const next = (saga: Saga, input: SagaInput) => advance(saga, input, now, policy, 0);

/** Follows inputs from the start; an input that changes nothing is passed over. */
function follow(...inputs: SagaInput[]): Advance {
  return inputs.reduce<Advance>((at, input) => next(at.saga, input) ?? at, start());
}

const steps = ({ saga }: Advance) => saga.steps.map(({ name, outcome }) => `${name} ${outcome}`);
const due: SagaInput = { type: 'Due' };
const times = (count: number, input: SagaInput) => Array.from({ length: count }, () => input);
const reserved: SagaInput = { type: 'StockReserved' };
const charged: SagaInput = { type: 'PaymentCharged' };
const committed: SagaInput = { type: 'StockCommitted' };
const refunded: SagaInput = { type: 'PaymentRefunded' };
const released: SagaInput = { type: 'StockReleased' };
const cancelled: SagaInput = { type: 'Cancelled' };

describe('a placement', () => {
  test('goes forward by each success, and confirms the order', () => {
    expect(start()).toMatchObject({ send: ['ReserveStock'], dueInMs: 1000, saga: { status: 'STARTED' } });
    const afterReserve = follow(reserved);
    expect(afterReserve).toMatchObject({
      send: ['ChargeAccount'],
      order: 'reprice',
      saga: { status: 'INVENTORY_RESERVED' },
    });
    expect(follow(reserved, charged)).toMatchObject({ send: ['CommitStock'], saga: { status: 'PAYMENT_CHARGED' } });
    expect(follow(reserved, charged, committed)).toMatchObject({
      send: [],
      order: 'confirm',
      dueInMs: null,
      saga: { status: 'COMPLETED', finishedAt: now },
    });
  });

  test('undoes in reverse order when a charge is never answered', () => {
    const gaveUp = follow(reserved, ...times(FORWARD_ATTEMPTS, due));
    expect(gaveUp).toMatchObject({ send: ['RefundPayment'], order: null, saga: { status: 'COMPENSATING' } });
    const refundedNow = next(gaveUp.saga, refunded) as Advance;
    expect(refundedNow).toMatchObject({ send: ['ReleaseStock'], order: null });
    const done = next(refundedNow.saga, released) as Advance;
    expect(done).toMatchObject({ order: 'reject', saga: { status: 'COMPENSATED' } });
    expect(steps(done)).toEqual([
      'reserve-stock SUCCEEDED',
      'charge-account TIMED_OUT',
      'refund-account SUCCEEDED',
      'release-stock SUCCEEDED',
    ]);
  });

  test('waits twice as long for each answer, with a share left to chance, but not for ever', () => {
    const waits = [start(), ...[1, 2, 3].map((n) => follow(...times(n, due)))].map(({ dueInMs }) => dueInMs);
    expect(waits).toEqual([1000, 2000, 4000, 8000]);
    expect(startSaga('O-1', now, policy, 0.5).dueInMs).toBe(1150);
    expect(follow(reserved, charged, ...times(50, due)).dueInMs).toBe(60_000);
  });

  test('never turns back by itself once the account is charged', () => {
    const waiting = follow(reserved, charged, ...times(100, due));
    expect(waiting).toMatchObject({ send: ['CommitStock'], saga: { status: 'PAYMENT_CHARGED' } });
    expect(next(waiting.saga, committed)).toMatchObject({ order: 'confirm' });
  });

  test('refunds when the stock has gone before it was taken', () => {
    const gone: SagaInput = { type: 'StockRefused', command: 'CommitStock', reason: 'held for too long' };
    expect(follow(reserved, charged, gone)).toMatchObject({ send: ['RefundPayment'] });
    expect(follow(reserved, charged, gone, refunded, released)).toMatchObject({
      order: 'reject',
      saga: { status: 'COMPENSATED', failure: 'held for too long' },
    });
  });

  test('is handed to an operator when a compensation is never answered; a late answer still ends it', () => {
    const failed = follow(...times(FORWARD_ATTEMPTS + COMPENSATION_ATTEMPTS, due));
    expect(failed).toMatchObject({ dueInMs: null, saga: { status: 'FAILED', finishedAt: null } });
    expect(next(failed.saga, due)).toBeNull();
    expect(next(failed.saga, released)).toMatchObject({ order: 'reject', saga: { status: 'COMPENSATED' } });
    expect(next(failed.saga, { type: 'Retry' })).toMatchObject({
      send: ['ReleaseStock'],
      dueInMs: 1000,
      saga: { status: 'COMPENSATING' },
    });
    expect(next(failed.saga, { type: 'Resolve', note: 'by hand' })).toMatchObject({
      order: 'reject',
      saga: { status: 'COMPENSATED', finishedAt: now },
    });
  });

  test('when two compensations failed and one is answered at last, the other is asked for again', () => {
    const failed = follow(reserved, cancelled, ...times(COMPENSATION_ATTEMPTS + 1, due));
    expect(steps(failed).slice(-2)).toEqual(['refund-account FAILED', 'release-stock FAILED']);
    expect(next(failed.saga, released)).toMatchObject({
      send: ['RefundPayment'],
      dueInMs: 1000,
      saga: { status: 'COMPENSATING' },
    });
  });

  test('resolving one compensation by hand leaves the next one to be done', () => {
    const failed = follow(reserved, ...times(FORWARD_ATTEMPTS + COMPENSATION_ATTEMPTS, due));
    expect(steps(failed).at(-1)).toBe('refund-account FAILED');
    expect(next(failed.saga, { type: 'Resolve', note: 'refunded by bank' })).toMatchObject({
      send: ['ReleaseStock'],
      order: null,
      saga: { status: 'COMPENSATING' },
    });
  });

  test.each([
    ['at once', [], ['reserve-stock CANCELLED', 'release-stock PENDING']],
    [
      'reserved',
      [reserved],
      ['reserve-stock SUCCEEDED', 'charge-account CANCELLED', 'refund-account PENDING', 'release-stock PENDING'],
    ],
    [
      'confirmed',
      [reserved, charged, committed],
      [
        'reserve-stock SUCCEEDED',
        'charge-account SUCCEEDED',
        'confirm-stock SUCCEEDED',
        'refund-account PENDING',
        'release-stock PENDING',
      ],
    ],
  ])('cancelled when it was %s, it waits for what the services undo by themselves', (_when, inputs, expected) => {
    const back = follow(...inputs, cancelled);
    expect(back).toMatchObject({ send: [], order: null, saga: { status: 'COMPENSATING', finishedAt: null } });
    expect(steps(back)).toEqual(expected);
    expect(follow(...inputs, cancelled, released, refunded)).toMatchObject({
      order: null,
      saga: { status: 'COMPENSATED' },
    });
    // No answer comes: then it sends the commands itself.
    const asked = follow(...inputs, cancelled, due);
    expect(asked.send).toEqual(
      expected.some((step) => step.startsWith('refund')) ? ['RefundPayment', 'ReleaseStock'] : ['ReleaseStock'],
    );
  });
});

const inputs: SagaInput[] = [
  reserved,
  charged,
  committed,
  refunded,
  released,
  due,
  cancelled,
  { type: 'StockRefused', command: 'ReserveStock', reason: 'out of stock' },
  { type: 'StockRefused', command: 'CommitStock', reason: 'expired' },
  { type: 'PaymentRefused', reason: 'no money' },
  { type: 'Retry' },
  { type: 'Resolve', note: 'by hand' },
];

describe('whatever happens, in whatever order', () => {
  const anything = fc.array(fc.constantFrom(...inputs), { maxLength: 40 });

  test('the order is confirmed or rejected at most once, and never both', () => {
    fc.assert(
      fc.property(anything, (happens) => {
        const outcomes: string[] = [];
        let { saga } = start();
        for (const input of happens) {
          const step = next(saga, input);
          if (step?.order === 'confirm' || step?.order === 'reject') outcomes.push(step.order);
          saga = step?.saga ?? saga;
        }
        expect(outcomes.length).toBeLessThanOrEqual(1);
        if (saga.status === 'COMPLETED') expect(outcomes).toEqual(['confirm']);
        if (saga.status === 'COMPENSATED' && !saga.cancelled) expect(outcomes).toEqual(['reject']);
      }),
      { numRuns: 2000 },
    );
  });

  test('it is over, or waits for something with a time limit, or for an operator', () => {
    fc.assert(
      fc.property(anything, (happens) => {
        let at = start();
        for (const input of happens) {
          at = next(at.saga, input) ?? at;
          const { saga, dueInMs } = at;
          const waiting = saga.steps.some(({ outcome }) => outcome === 'PENDING');
          expect(waiting).toBe(dueInMs !== null);
          expect(isFinished(saga)).toBe(!waiting && saga.status !== 'FAILED');
          expect(saga.finishedAt !== null).toBe(isFinished(saga));
          expect(new Set(saga.steps.map(({ name }) => name)).size).toBe(saga.steps.length);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('when it ends undone, whatever was asked for has been taken back', () => {
    fc.assert(
      fc.property(anything, (happens) => {
        const sent = new Set<SagaCommand>(['ReserveStock']);
        let { saga } = start();
        for (const input of happens) {
          const step = next(saga, input);
          for (const command of step?.send ?? []) sent.add(command);
          saga = step?.saga ?? saga;
        }
        if (saga.status !== 'COMPENSATED') return;
        const outcome = (name: string) => saga.steps.find((step) => step.name === name)?.outcome;
        const undone = ['SUCCEEDED', 'RESOLVED'];
        if (outcome('reserve-stock') !== 'REFUSED') expect(undone).toContain(outcome('release-stock'));
        if (sent.has('ChargeAccount') && outcome('charge-account') !== 'REFUSED') {
          expect(undone).toContain(outcome('refund-account'));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

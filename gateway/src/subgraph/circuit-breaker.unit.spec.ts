import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CircuitBreaker, type Permit } from './circuit-breaker.js';

/** A breaker over time, and how many of so many requests it lets through. */
function breaking(threshold: number, breakMs: number) {
  const clock = { now: 0 };
  const breaker = new CircuitBreaker(threshold, breakMs, () => clock.now);
  const permit = () => {
    const given = breaker.allows();
    if (!given) throw new Error('It lets nothing through.');
    return given;
  };
  return { clock, breaker, permit };
}

/** So many failures, a second after the first of which it opens. */
function fail({ clock, breaker, permit }: ReturnType<typeof breaking>, times: number) {
  for (let i = 1; i < times; i++) breaker.failed(permit());
  clock.now += 1000;
  breaker.failed(permit());
}

test('so many failures in a row open it until a probe succeeds', () => {
  const breaks = breaking(3, 100);
  const { breaker } = breaks;
  fail(breaks, 3);
  expect([breaker.allows(), breaker.breakMs]).toEqual([null, 100]);
  breaker.failed(breaker.probe());
  expect([breaker.allows(), breaker.breakMs]).toEqual([null, 200]);
  breaker.succeeded(breaker.probe());
  expect([breaker.allows(), breaker.allows()]).not.toContain(null);
  fail(breaks, 3);
  expect(breaker.breakMs).toBe(100);
});

test('breaks grow to three seconds, and a probe that others overtook still closes it', () => {
  const breaks = breaking(3, 500);
  const { breaker } = breaks;
  fail(breaks, 3);
  const slow = breaker.probe();
  const lengths = Array.from({ length: 5 }, () => {
    breaker.failed(breaker.probe());
    return breaker.breakMs;
  });
  expect(lengths).toEqual([1000, 2000, 3000, 3000, 3000]);
  breaker.succeeded(slow);
  expect(breaker.isOpen).toBe(false);
});

test('failures within a second, or with a success between, open nothing and last no time', () => {
  const { clock, breaker, permit } = breaking(3, 100);
  for (let i = 0; i < 20; i++) expect(breaker.failed(permit())).toBe(false);
  breaker.succeeded(permit());
  clock.now = 1500;
  expect(breaker.failed(permit())).toBe(false);
  clock.now = 2500;
  expect(breaker.failed(permit())).toBe(true);
  expect(breaker.isOpen).toBe(false);
});

test.each(['succeeded', 'failed'] as const)('a request from before it opened that %s says nothing', (outcome) => {
  const breaks = breaking(2, 100);
  const { breaker } = breaks;
  const early = breaks.permit();
  fail(breaks, 2);
  breaker[outcome](early);
  expect([breaker.isOpen, breaker.breakMs]).toEqual([true, 100]);
  breaker.succeeded(breaker.probe());
  for (let i = 0; i < 3; i++) breaker[outcome](early);
  expect(breaker.isOpen).toBe(false);
});

test('whatever happens, it lets requests through again when a probe succeeds', () => {
  const step = fc.constantFrom('ask', 'probe', 'fail', 'succeed', 'wait');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 5 }), (steps, threshold) => {
      let now = 0;
      const underWay: Permit[] = [];
      const breaker = new CircuitBreaker(threshold, 50, () => now);
      for (const each of steps) {
        if (each === 'wait') now += 400;
        else if (each === 'ask') underWay.push(...[breaker.allows()].filter((permit) => permit !== null));
        else if (each === 'probe') underWay.push(breaker.probe());
        else {
          const permit = underWay.pop();
          if (!permit) continue;
          if (each === 'fail') breaker.failed(permit);
          else breaker.succeeded(permit);
        }
      }
      breaker.succeeded(breaker.probe());
      expect(breaker.allows()).not.toBeNull();
    }),
  );
});

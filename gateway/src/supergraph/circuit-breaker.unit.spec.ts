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

test('so many failures in a row open it, and it tries one after a while', () => {
  const { clock, breaker, permit } = breaking(3, 100);
  for (let i = 0; i < 3; i++) breaker.failed(permit());
  expect(breaker.allows()).toBeNull();
  clock.now = 100;
  const trial = permit();
  expect(breaker.allows()).toBeNull();
  breaker.failed(trial);
  clock.now = 299;
  expect(breaker.allows()).toBeNull();
  clock.now = 300;
  breaker.succeeded(permit());
  expect([breaker.allows(), breaker.allows()]).not.toContain(null);
});

test('a client that goes while it is tried leaves the try to the next', () => {
  const { clock, breaker, permit } = breaking(1, 100);
  breaker.failed(permit());
  clock.now = 100;
  breaker.ended(permit());
  expect(breaker.allows()).not.toBeNull();
});

test.each(['succeeded', 'failed', 'ended'] as const)(
  'a request from before it opened that %s decides no trial',
  (outcome) => {
    const { clock, breaker, permit } = breaking(1, 100);
    const early = permit();
    breaker.failed(permit());
    breaker[outcome](early);
    expect(breaker.isOpen).toBe(true);
    clock.now = 100;
    const trial = permit();
    const late = early;
    breaker[outcome](late);
    expect([breaker.isOpen, breaker.allows()]).toEqual([true, null]);
    breaker.succeeded(trial);
    expect(breaker.isOpen).toBe(false);
  },
);

test('whatever happens, it lets requests through again when time passes and they succeed', () => {
  const step = fc.constantFrom('ask', 'fail', 'succeed', 'end', 'wait');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 5 }), (steps, threshold) => {
      let now = 0;
      const underWay: Permit[] = [];
      const breaker = new CircuitBreaker(threshold, 50, () => now);
      for (const each of steps) {
        if (each === 'wait') now += 40;
        else if (each === 'ask') underWay.push(...[breaker.allows()].filter((permit) => permit !== null));
        else {
          const permit = underWay.pop();
          if (!permit) continue;
          if (each === 'fail') breaker.failed(permit);
          else if (each === 'succeed') breaker.succeeded(permit);
          else breaker.ended(permit);
        }
      }
      for (const permit of underWay) breaker.ended(permit);
      now += 20_000;
      const permit = breaker.allows();
      if (!permit) throw new Error('It lets nothing through.');
      breaker.succeeded(permit);
      expect(breaker.allows()).not.toBeNull();
    }),
  );
});

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CircuitBreaker } from './circuit-breaker.js';

test('so many failures in a row open it, and it tries one after a while', () => {
  let now = 0;
  const breaker = new CircuitBreaker(3, 100, () => now);
  for (let i = 0; i < 3; i++) {
    expect(breaker.allows()).toBe(true);
    breaker.failed();
  }
  expect(breaker.allows()).toBe(false);
  now = 100;
  expect([breaker.allows(), breaker.allows()]).toEqual([true, false]);
  breaker.failed();
  now = 299;
  expect(breaker.allows()).toBe(false);
  now = 300;
  expect(breaker.allows()).toBe(true);
  breaker.succeeded();
  expect([breaker.allows(), breaker.allows()]).toEqual([true, true]);
});

test('a client that goes while it is tried leaves the try to the next', () => {
  let now = 0;
  const breaker = new CircuitBreaker(1, 100, () => now);
  breaker.failed();
  now = 100;
  expect(breaker.allows()).toBe(true);
  breaker.ended();
  expect(breaker.allows()).toBe(true);
});

test('whatever happens, it lets requests through again when time passes and they succeed', () => {
  const step = fc.constantFrom('ask', 'fail', 'succeed', 'end', 'wait');
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 5 }), (steps, threshold) => {
      let now = 0;
      let underWay = 0;
      const breaker = new CircuitBreaker(threshold, 50, () => now);
      for (const each of steps) {
        if (each === 'wait') now += 40;
        else if (each === 'ask') underWay += breaker.allows() ? 1 : 0;
        else if (underWay > 0) {
          underWay -= 1;
          if (each === 'fail') breaker.failed();
          else if (each === 'succeed') breaker.succeeded();
          else breaker.ended();
        }
      }
      while (underWay-- > 0) breaker.ended();
      now += 20_000;
      expect(breaker.allows()).toBe(true);
      breaker.succeeded();
      expect(breaker.allows()).toBe(true);
    }),
  );
});

import { expect, test } from 'vitest';
import { SteadySchema } from './steady-schema.js';

/** Schemas over time, polled every 5 s. @returns the schemas that were served, in order, without repetitions */
function polled(seen: readonly string[], pollMs = 5000): { served: string[]; alternates: boolean; holds: boolean } {
  const clock = { now: 0 };
  const steady = new SteadySchema(pollMs, () => clock.now);
  const served: string[] = [];
  for (const schema of seen) {
    const chosen = steady.choose(schema);
    steady.serve(chosen);
    if (served.at(-1) !== chosen) served.push(chosen);
    // What is held is looked at again soon.
    clock.now += steady.holds ? 5000 : pollMs;
  }
  return { served, alternates: steady.alternates, holds: steady.holds };
}

const times = (count: number, ...schemas: string[]) => Array.from({ length: count }, () => schemas).flat();

test('a new schema is served at once', () => {
  expect(polled(['a', 'b', 'c'])).toEqual({ served: ['a', 'b', 'c'], alternates: false, holds: false });
});

test('two that take turns are not swapped', () => {
  expect(polled(times(100, 'a', 'b'))).toMatchObject({ served: ['a', 'b'], alternates: true });
});

test('a release that is taken back is, after a while', () => {
  expect(polled(['a', 'b', ...times(3, 'a')]).served).toEqual(['a', 'b']);
  expect(polled(['a', 'b', ...times(4, 'a')]).served).toEqual(['a', 'b', 'a']);
});

test('a release that is taken back is after a minute, however seldom it is polled, and is no alternation', () => {
  const held = polled(['a', 'b', ...times(12, 'a')], 300_000);
  expect(held).toEqual({ served: ['a', 'b'], alternates: false, holds: true });
  expect(polled(['a', 'b', ...times(13, 'a')], 300_000).served).toEqual(['a', 'b', 'a']);
  expect(polled(times(3, 'a', 'b'), 300_000).alternates).toBe(true);
});

test('each return takes twice as long', () => {
  const turns = times(4, ...times(5, 'b'), ...times(5, 'a'));
  expect(polled(['a', ...turns]).served).toEqual(['a', 'b', 'a']);
});

test('what was quiet for a while begins anew', () => {
  const { served, alternates } = polled(['a', 'b', ...times(100, 'a'), ...times(4, 'b'), ...times(100, 'b')]);
  expect(served).toEqual(['a', 'b', 'a', 'b']);
  expect(alternates).toBe(false);
});

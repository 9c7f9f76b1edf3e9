import { expect, test } from 'vitest';
import { SteadySchema } from './steady-schema.js';

/** Schemas over time, polled every 5 s. @returns the schemas that were served, in order, without repetitions */
function polled(seen: readonly string[]): { served: string[]; alternates: boolean } {
  const clock = { now: 0 };
  const steady = new SteadySchema(5000, () => clock.now);
  const served: string[] = [];
  for (const schema of seen) {
    const chosen = steady.choose(schema);
    steady.serve(chosen);
    if (served.at(-1) !== chosen) served.push(chosen);
    clock.now += 5000;
  }
  return { served, alternates: steady.alternates };
}

const times = (count: number, ...schemas: string[]) => Array.from({ length: count }, () => schemas).flat();

test('a new schema is served at once', () => {
  expect(polled(['a', 'b', 'c'])).toEqual({ served: ['a', 'b', 'c'], alternates: false });
});

test('two that take turns are not swapped', () => {
  expect(polled(times(100, 'a', 'b'))).toEqual({ served: ['a', 'b'], alternates: true });
});

test('a release that is taken back is, after a while', () => {
  expect(polled(['a', 'b', ...times(3, 'a')]).served).toEqual(['a', 'b']);
  expect(polled(['a', 'b', ...times(4, 'a')]).served).toEqual(['a', 'b', 'a']);
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

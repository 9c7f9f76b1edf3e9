import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { anySignal } from './any-signal.js';

test('a signal follows others until it ends, and leaves nothing with them', () => {
  const [first, second, over] = [new AbortController(), new AbortController(), AbortSignal.abort('over')];
  const following = anySignal([first.signal, second.signal]);
  expect(following.signal.aborted).toBe(false);
  second.abort('second');
  expect(following.signal.reason).toBe('second');
  following.end();
  expect(anySignal([first.signal, over]).signal.reason).toBe('over');

  const long = new AbortController();
  const short = anySignal([long.signal]);
  short.end();
  expect(short.signal.aborted).toBe(true);
  expect(getEventListeners(long.signal, 'abort')).toEqual([]);
});

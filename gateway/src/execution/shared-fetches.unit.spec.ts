import { expect, test } from 'vitest';
import { Abandonment } from '../lib/abandonment.js';
import type { SubgraphResult } from '../subgraph/subgraph-client.js';
import { SharedFetches } from './shared-fetches.js';

/** A fetch that is answered when the test says so. */
function pending() {
  let sent = 0;
  let answer: (result: SubgraphResult) => void = () => undefined;
  const send = () => {
    sent += 1;
    return new Promise<SubgraphResult>((resolve) => {
      answer = resolve;
    });
  };
  return { send, sent: () => sent, answer: (n: number) => answer({ data: { n, list: [n] } }) };
}

test('each who shares gets an answer of his own', async () => {
  const shared = new SharedFetches(true);
  const fetch = pending();
  const asked = [shared.fetch('same', null, fetch.send), shared.fetch('same', null, fetch.send)];
  fetch.answer(1);
  const [one, two] = await Promise.all(asked);
  expect(fetch.sent()).toBe(1);
  (one as { data: { list: number[] } }).data.list.push(2);
  expect(two?.data).toEqual({ n: 1, list: [1] });
});

test('what is over is asked for again', async () => {
  const shared = new SharedFetches(true);
  const fetch = pending();
  const first = shared.fetch('same', null, fetch.send);
  fetch.answer(1);
  await first;
  const second = shared.fetch('same', null, fetch.send);
  fetch.answer(2);
  expect((await second).data?.n).toBe(2);
});

test('after a change nobody is given what was asked before it', async () => {
  const shared = new SharedFetches(true);
  const before = pending();
  const after = pending();
  const old = shared.fetch('same', null, before.send);
  shared.forget();
  const fresh = shared.fetch('same', null, after.send);
  before.answer(1);
  expect((await old).data?.n).toBe(1);
  const alsoFresh = shared.fetch('same', null, after.send);
  after.answer(2);
  expect((await fresh).data?.n).toBe(2);
  expect((await alsoFresh).data?.n).toBe(2);
  expect(after.sent()).toBe(1);
});

test('who left before the answer does not hold the object that another is given', async () => {
  const shared = new SharedFetches(true);
  const fetch = pending();
  const gone = new Abandonment();
  const asked = [shared.fetch('same', gone, fetch.send), shared.fetch('same', null, fetch.send)];
  gone.happen();
  fetch.answer(1);
  const [left, stayed] = await Promise.all(asked);
  expect(stayed?.data).toEqual({ n: 1, list: [1] });
  expect(left).toEqual({});
});

test('a bound on staleness joins nothing that began earlier than it allows', async () => {
  const shared = new SharedFetches(true);
  const fetch = pending();
  void shared.fetch('same', null, fetch.send);
  expect(shared.has('same', 60_000)).toBe(true);
  expect(shared.has('same', 0)).toBe(false);
  expect(shared.has('other', 60_000)).toBe(false);
  void shared.fetch('same', null, fetch.send, 0);
  expect(fetch.sent()).toBe(2);
});

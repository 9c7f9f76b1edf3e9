import { getEventListeners } from 'node:events';
import { expect, test } from 'vitest';
import { type Flight, SingleFlight } from './single-flight.js';

interface Result {
  readonly n: number;
  readonly list: number[];
}

/** A call that ends when the test says so. */
function pending() {
  const flights: Flight[] = [];
  let end: (result: Result) => void = () => undefined;
  let reject: (error: Error) => void = () => undefined;
  const start = (flight: Flight) => {
    flights.push(flight);
    return new Promise<Result>((resolve, fail) => {
      end = resolve;
      reject = fail;
    });
  };
  return {
    start,
    flights,
    calls: () => flights.length,
    end: (n: number) => end({ n, list: [n] }),
    fail: (error: Error) => reject(error),
  };
}

const copying = () => new SingleFlight<Result>({ copy: ({ n, list }) => ({ n, list: [...list] }) });

test('callers with one key share a call, and each gets a result of its own', async () => {
  const flights = copying();
  const call = pending();
  const results = [flights.run('same', call.start), flights.run('same', call.start)];
  call.end(1);
  const [one, two] = await Promise.all(results);
  expect(call.calls()).toBe(1);
  one?.list.push(2);
  expect(two).toEqual({ n: 1, list: [1] });
});

test('a call that has ended is not joined', async () => {
  const flights = copying();
  const call = pending();
  const first = flights.run('same', call.start);
  call.end(1);
  await first;
  const second = flights.run('same', call.start);
  call.end(2);
  expect((await second)?.n).toBe(2);
});

test('after forget, no caller joins a call that started before', async () => {
  const flights = copying();
  const before = pending();
  const after = pending();
  const old = flights.run('same', before.start);
  flights.forget();
  const fresh = flights.run('same', after.start);
  before.end(1);
  expect((await old)?.n).toBe(1);
  const alsoFresh = flights.run('same', after.start);
  after.end(2);
  expect((await fresh)?.n).toBe(2);
  expect((await alsoFresh)?.n).toBe(2);
  expect(after.calls()).toBe(1);
});

test('a caller that left does not hold the object that another is given', async () => {
  const flights = copying();
  const call = pending();
  const controller = new AbortController();
  const results = [flights.run('same', call.start, controller), flights.run('same', call.start)];
  controller.abort();
  call.end(1);
  const [left, stayed] = await Promise.all(results);
  expect(stayed).toEqual({ n: 1, list: [1] });
  expect(left).toBeUndefined();
});

test('the call is aborted when the last caller leaves, and no sooner', async () => {
  const flights = copying();
  const call = pending();
  const [first, second] = [new AbortController(), new AbortController()];
  const results = [flights.run('same', call.start, first), flights.run('same', call.start, second)];
  const [flight] = call.flights as [Flight];
  expect(flight.waiters).toBe(2);
  first.abort();
  expect(flight.signal.aborted).toBe(false);
  second.abort();
  expect(flight.signal.aborted).toBe(true);
  expect(flights.isJoinable('same')).toBe(false);
  call.end(1);
  expect(await Promise.all(results)).toEqual([undefined, undefined]);
});

test('a caller that was cancelled before joins nothing that goes on', async () => {
  const flights = copying();
  const call = pending();
  const controller = new AbortController();
  controller.abort();
  expect(await flights.run('same', call.start, controller)).toBeUndefined();
  expect(call.flights[0]?.signal.aborted).toBe(true);
});

test('an error reaches every caller, and no listener stays at their signals', async () => {
  const flights = copying();
  const call = pending();
  const controller = new AbortController();
  const results = [flights.run('same', call.start, controller), flights.run('same', call.start, controller)];
  expect(getEventListeners(controller.signal, 'abort')).toHaveLength(2);
  call.fail(new Error('no result'));
  for (const result of await Promise.allSettled(results)) expect(result.status).toBe('rejected');
  expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
  expect(flights.isJoinable('same')).toBe(false);
});

test('callers with an age limit join only calls that started within it', () => {
  let now = 0;
  const flights = new SingleFlight<Result>({ now: () => now });
  const call = pending();
  void flights.run('same', call.start);
  now = 100;
  expect(flights.isJoinable('same', 100)).toBe(true);
  expect(flights.isJoinable('same', 99)).toBe(false);
  expect(flights.isJoinable('same', 0)).toBe(false);
  expect(flights.isJoinable('other', 100)).toBe(false);
  void flights.run('same', call.start, null, 0);
  expect(call.calls()).toBe(2);
});

test('joined callers share one result, and the last that leaves aborts the call', async () => {
  const flights = new SingleFlight<Result>();
  const call = pending();
  const one = flights.join('same', call.start);
  const two = flights.join('same', call.start);
  one.leave();
  expect(call.flights[0]?.signal.aborted).toBe(false);
  call.end(1);
  expect(await two.result).toBe(await one.result);
  two.leave();
  expect(call.flights[0]?.signal.aborted).toBe(false);
});

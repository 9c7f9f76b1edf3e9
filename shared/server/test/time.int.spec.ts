import { systemTime, type Time, timeoutSignal } from '@tributary/server';
import { describe, expect, test } from 'vitest';
import { ManualTime } from '../../../test/harness/manual-time.ts';

// One contract for the system's time and for virtual time.

interface Subject {
  readonly time: Time;
  /** Lets `ms` milliseconds pass. */
  readonly pass: (ms: number) => Promise<void>;
}

const subjects: Record<string, () => Subject> = {
  'the system': () => ({ time: systemTime, pass: (ms) => systemTime.sleep(ms) }),
  'virtual time': () => {
    const time = new ManualTime();
    return { time, pass: (ms) => time.advance(ms) };
  },
};

describe.each(Object.entries(subjects))('%s', (_name, open) => {
  test('both clocks advance, and the wall clock counts from 1970', async () => {
    const { time, pass } = open();
    const [now, monotonic] = [time.now(), time.monotonic()];
    expect(now).toBeGreaterThan(Date.UTC(2020, 0, 1));
    await pass(20);
    expect(time.monotonic() - monotonic).toBeGreaterThan(18);
    expect(time.now() - now).toBeGreaterThan(18);
  });

  test('timers run once, in the order of their times', async () => {
    const { time, pass } = open();
    const ran: string[] = [];
    time.setTimeout(() => ran.push('second'), 10);
    time.setTimeout(() => ran.push('first'), 1);
    await pass(50);
    expect(ran).toEqual(['first', 'second']);
  });

  test('a cleared timer does not run', async () => {
    const { time, pass } = open();
    let ran = false;
    const timer = time.setTimeout(() => {
      ran = true;
    }, 1);
    timer.clear();
    timer.clear();
    await pass(20);
    expect(ran).toBe(false);
  });

  test('a sleep ends after its time', async () => {
    const { time, pass } = open();
    let over = false;
    const sleeping = time.sleep(5).then(() => {
      over = true;
    });
    expect(over).toBe(false);
    await pass(30);
    await sleeping;
    expect(over).toBe(true);
  });

  test('a sleep rejects when its signal is aborted, before or during it', async () => {
    const { time } = open();
    const before = AbortSignal.abort();
    await expect(time.sleep(10_000, before)).rejects.toMatchObject({ name: 'AbortError' });
    const during = new AbortController();
    const sleeping = time.sleep(10_000, during.signal);
    during.abort();
    await expect(sleeping).rejects.toMatchObject({ name: 'AbortError' });
  });

  test('a timeout signal is aborted after its time, unless it was ended before', async () => {
    const { time, pass } = open();
    const [timeout, ended] = [timeoutSignal(5, time), timeoutSignal(5, time)];
    ended.end();
    expect(timeout.signal.aborted).toBe(false);
    await pass(30);
    expect(timeout.signal.reason).toMatchObject({ name: 'TimeoutError' });
    expect(ended.signal.aborted).toBe(false);
  });
});

test('setting the wall clock affects neither the monotonic clock nor timers', async () => {
  const time = new ManualTime(1000);
  let ran = false;
  time.setTimeout(() => {
    ran = true;
  }, 50);
  time.setWallClock(0);
  await time.advance(49);
  expect([time.now(), time.monotonic(), ran]).toEqual([49, 49, false]);
  await time.advance(1);
  expect(ran).toBe(true);
});

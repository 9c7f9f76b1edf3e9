import { SenderClock } from '@tributary/bus';
import { expect, test } from 'vitest';
import { ManualTime } from '../../../test/harness/manual-time.ts';

test('a timestamp is never translated to a later moment than it was measured', async () => {
  const time = new ManualTime();
  const clock = new SenderClock(time);
  const sentAt = time.now();
  await time.advance(40);
  expect(clock.toLocal(sentAt)).toBe(-1);
});

test('a sender whose clock is ahead is corrected by the quickest message', async () => {
  const time = new ManualTime();
  const clock = new SenderClock(time);
  expect(clock.offsetMs).toBeNull();
  clock.toLocal(time.now() + 500);
  expect(clock.offsetMs).toBe(500);
  await time.advance(1000);
  expect(clock.toLocal(time.now() + 500)).toBe(999);
});

test('an offset is forgotten two minutes after the last message that proved it', async () => {
  const time = new ManualTime();
  const clock = new SenderClock(time);
  clock.toLocal(time.now() + 500);
  await time.advance(60_000);
  expect(clock.offsetMs).toBe(500);
  await time.advance(60_000);
  expect(clock.offsetMs).toBeNull();
});

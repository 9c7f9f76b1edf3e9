import { setTimeout as sleep } from 'node:timers/promises';

/** Repeats `ask` until its result is what the test waits for; fails with the last result after `withinMs`. */
export async function until<T>(
  ask: () => Promise<T>,
  isExpected: (answer: T) => boolean,
  withinMs = 15_000,
  everyMs = 20,
): Promise<T> {
  const deadline = Date.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (isExpected(answer)) return answer;
    if (Date.now() > deadline)
      throw new Error(`Waited ${withinMs} ms in vain; the last answer was ${JSON.stringify(answer)}`);
    await sleep(everyMs);
  }
}

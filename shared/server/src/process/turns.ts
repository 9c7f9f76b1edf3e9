import { systemTime, type Timers } from './time.js';

/** Runs what it is given one after the other. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();

  take<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#last.then(run);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /** Resolves when all that was given until now is done. */
  get over(): Promise<unknown> {
    return this.#last;
  }
}

/** Waits until all is settled, or the time is over. */
export async function settledWithin(
  timeoutMs: number,
  promises: readonly Promise<unknown>[],
  timers: Timers = systemTime,
): Promise<void> {
  const settled = new AbortController();
  const time = timers.sleep(timeoutMs, settled.signal).catch(() => undefined);
  await Promise.race([Promise.allSettled(promises), time]);
  settled.abort();
}

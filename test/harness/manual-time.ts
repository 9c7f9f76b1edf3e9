import { setImmediate } from 'node:timers/promises';
import type { Time, Timer } from '@tributary/server';

interface Scheduled {
  readonly at: number;
  readonly run: () => void;
}

/** Virtual time: it passes only when a test advances it. Passes the contract test of the system's time. */
export class ManualTime implements Time {
  #elapsedMs = 0;
  #wallMs: number;
  #scheduled: Scheduled[] = [];

  /** @param now the time at the start, in milliseconds since 1970 */
  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#wallMs = now;
  }

  now(): number {
    return this.#wallMs;
  }

  monotonic(): number {
    return this.#elapsedMs;
  }

  setTimeout(run: () => void, ms: number): Timer {
    const scheduled = { at: this.#elapsedMs + Math.max(0, ms), run };
    this.#scheduled.push(scheduled);
    return { clear: () => this.#remove(scheduled) };
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const abort = () => {
        timer.clear();
        reject(new DOMException('The operation was aborted', 'AbortError'));
      };
      const timer = this.setTimeout(() => {
        signal?.removeEventListener('abort', abort);
        resolve();
      }, ms);
      if (signal?.aborted) abort();
      else signal?.addEventListener('abort', abort, { once: true });
    });
  }

  /** Lets time pass: runs what is due, in order, and the code that waits for it. */
  async advance(ms: number): Promise<void> {
    const end = this.#elapsedMs + ms;
    for (let next = this.#nextUntil(end); next; next = this.#nextUntil(end)) {
      this.#passTo(next.at);
      this.#remove(next);
      next.run();
      await setImmediate();
    }
    this.#passTo(end);
    await setImmediate();
  }

  /** Sets the wall clock, as an operator or NTP does. The monotonic clock and timers are not affected. */
  setWallClock(now: number): void {
    this.#wallMs = now;
  }

  #nextUntil(end: number): Scheduled | undefined {
    const due = this.#scheduled.filter(({ at }) => at <= end);
    return due.toSorted((a, b) => a.at - b.at)[0];
  }

  #passTo(at: number): void {
    this.#wallMs += at - this.#elapsedMs;
    this.#elapsedMs = at;
  }

  #remove(scheduled: Scheduled): void {
    this.#scheduled = this.#scheduled.filter((other) => other !== scheduled);
  }
}

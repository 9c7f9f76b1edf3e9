import { setTimeout as sleepFor } from 'node:timers/promises';

/** Reads the time. Both readings are milliseconds and may have fractions. */
export interface Clock {
  /** Milliseconds since 1970. May jump when an operator or NTP sets the system's clock. */
  now(): number;
  /** Milliseconds since an arbitrary moment. Never goes backwards: use it for durations. */
  monotonic(): number;
}

/** A timer that has been started; `clear` cancels it and may be called more than once. */
export interface Timer {
  clear(): void;
}

/** Runs code later. */
export interface Timers {
  /** Calls `run` once, after `ms` milliseconds. Does not keep the process alive when `unref` is true. */
  setTimeout(run: () => void, ms: number, options?: { readonly unref?: boolean }): Timer;
  /**
   * Resolves after `ms` milliseconds.
   *
   * @throws an AbortError at once when `signal` is aborted
   */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The port for time. Code that takes it as an argument also runs in virtual time. */
export interface Time extends Clock, Timers {}

/** The time of the system. */
export const systemTime: Time = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout(run, ms, { unref = false } = {}) {
    const timeout = setTimeout(run, ms);
    if (unref) timeout.unref();
    return { clear: () => clearTimeout(timeout) };
  },
  async sleep(ms, signal) {
    await sleepFor(ms, undefined, signal ? { signal } : {});
  },
};

import { systemTime, type Timers } from './time.js';

/** A signal that is aborted when a time is over. */
export interface TimeoutSignal {
  readonly signal: AbortSignal;
  /** Stops the timer: the signal is not aborted any more. */
  end(): void;
}

/** Like `AbortSignal.timeout`, and also in virtual time: aborts with a TimeoutError after `ms` milliseconds, and does not keep the process alive. */
export function timeoutSignal(ms: number, timers: Timers = systemTime): TimeoutSignal {
  const controller = new AbortController();
  const abort = () => controller.abort(new DOMException('The operation was aborted due to timeout', 'TimeoutError'));
  const timer = timers.setTimeout(abort, ms, { unref: true });
  return { signal: controller.signal, end: () => timer.clear() };
}

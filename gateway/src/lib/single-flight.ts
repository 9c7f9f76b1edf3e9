import { performance } from 'node:perf_hooks';
import { type Cancellation, LazyAbortController } from './lazy-abort-controller.js';

/** A call in flight, as the function that carries it out sees it. */
export interface Flight extends Cancellation {
  /** Aborted when every waiter has left. */
  readonly signal: AbortSignal;
  /** The same without creating the signal. */
  readonly aborted: boolean;
  /** How many callers wait for the result now. */
  readonly waiters: number;
}

/** One caller's share in a flight. */
export interface Waiter<T> {
  readonly result: Promise<T>;
  /** Stops waiting; the last waiter that leaves aborts the flight. To be called at most once. */
  readonly leave: () => void;
}

export interface SingleFlightOptions<T> {
  /** Copies a result for callers that change what they are given; all but one of the waiters get a copy. */
  readonly copy?: (result: T) => T;
  /** The current time in milliseconds, monotonic. */
  readonly now?: () => number;
}

/**
 * Deduplicates calls in flight: callers with the same key wait for one call. A flight whose waiters have all left is aborted. Results are
 * not stored: the first caller after the end starts a new call.
 *
 * @example
 * const flights = new SingleFlight<string>();
 * let calls = 0;
 * const load = async () => `result ${++calls}`;
 * await Promise.all([flights.run('key', load), flights.run('key', load)]); // ['result 1', 'result 1']
 */
export class SingleFlight<T> {
  readonly #flights = new Map<string, FlightState<T>>();
  readonly #copy: (result: T) => T;
  readonly #now: () => number;

  constructor({ copy = (result) => result, now = () => performance.now() }: SingleFlightOptions<T> = {}) {
    this.#copy = copy;
    this.#now = now;
  }

  /** Stops joining the current flights, because what they read has changed; their waiters still get their results. */
  forget(): void {
    this.#flights.clear();
  }

  /** Whether a caller would join a flight: one that started at most `maxAgeMs` ago. With 0 it joins none. */
  isJoinable(key: string, maxAgeMs = Number.POSITIVE_INFINITY): boolean {
    return this.#joinable(key, maxAgeMs) !== undefined;
  }

  /**
   * Joins the flight of this key, or starts one.
   *
   * @param cancellation its signal ends this caller's wait, not the flight of others; null when it cannot be cancelled
   * @param maxAgeMs joins only a flight that started at most so many milliseconds ago
   * @returns the result, or a copy of it; undefined when the caller was cancelled meanwhile
   */
  async run(
    key: string,
    start: (flight: Flight) => Promise<T>,
    cancellation: Cancellation | null = null,
    maxAgeMs = Number.POSITIVE_INFINITY,
  ): Promise<T | undefined> {
    const flight = this.#joinOrStart(key, start, maxAgeMs);
    const signal = cancellation?.signal;
    if (signal?.aborted) {
      flight.leave();
      return undefined;
    }
    // A listener of its own, because a caller may join one flight twice with one signal.
    const leave = signal && (() => flight.leave());
    if (leave) signal.addEventListener('abort', leave, { once: true });
    try {
      const result = await flight.result;
      // A caller that has left must not get the result itself, because the last waiter owns it.
      if (signal?.aborted) return undefined;
      flight.waiters -= 1;
      return flight.waiters === 0 ? result : this.#copy(result);
    } finally {
      if (leave) signal.removeEventListener('abort', leave);
    }
  }

  /** The same as {@link run} for callers that leave by themselves and share one result, which is not copied. */
  join(key: string, start: (flight: Flight) => Promise<T>, maxAgeMs = Number.POSITIVE_INFINITY): Waiter<T> {
    return this.#joinOrStart(key, start, maxAgeMs);
  }

  #joinOrStart(key: string, start: (flight: Flight) => Promise<T>, maxAgeMs: number): FlightState<T> {
    const flight = this.#joinable(key, maxAgeMs) ?? this.#start(key, start);
    flight.waiters += 1;
    return flight;
  }

  #joinable(key: string, maxAgeMs: number): FlightState<T> | undefined {
    const flight = maxAgeMs > 0 ? this.#flights.get(key) : undefined;
    return flight && this.#now() - flight.startedAt <= maxAgeMs ? flight : undefined;
  }

  #start(key: string, start: (flight: Flight) => Promise<T>): FlightState<T> {
    const flight = new FlightState<T>(this.#now(), () => this.#remove(key, flight));
    this.#flights.set(key, flight);
    flight.fly(start);
    return flight;
  }

  #remove(key: string, flight: FlightState<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}

class FlightState<T> extends LazyAbortController implements Flight, Waiter<T> {
  readonly startedAt: number;
  readonly #onEnd: () => void;
  waiters = 0;
  result!: Promise<T>;
  #hasEnded = false;

  constructor(startedAt: number, onEnd: () => void) {
    super();
    this.startedAt = startedAt;
    this.#onEnd = onEnd;
  }

  fly(start: (flight: Flight) => Promise<T>): void {
    this.result = start(this);
    this.result.then(this.#end, this.#end);
  }

  readonly leave = (): void => {
    this.waiters -= 1;
    if (this.waiters > 0 || this.#hasEnded) return;
    this.#end();
    this.abort();
  };

  readonly #end = (): void => {
    this.#hasEnded = true;
    this.#onEnd();
  };
}

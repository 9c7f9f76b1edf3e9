import { setMaxListeners } from 'node:events';

/** Whatever has an `AbortSignal`: a controller, or an in-flight call. Read `signal` only where it is needed; reading creates it. */
export interface Cancellation {
  readonly signal: AbortSignal;
}

/**
 * An `AbortController` whose signal is created when it is first read. Creating a signal takes about 3 µs, which a response from the cache
 * need not spend: it starts nothing that could be aborted.
 *
 * @example
 * const controller = new LazyAbortController();
 * controller.abort();
 * controller.signal.aborted; // true
 */
export class LazyAbortController implements Cancellation {
  #controller: AbortController | null = null;
  #aborted = false;

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      // A request may wait for more than ten calls at once, which is no leak.
      setMaxListeners(0, this.#controller.signal);
      if (this.#aborted) this.#controller.abort();
    }
    return this.#controller.signal;
  }

  /** Whether it was aborted; does not create the signal. */
  get aborted(): boolean {
    return this.#aborted;
  }

  abort(): void {
    this.#aborted = true;
    this.#controller?.abort();
  }
}

/** A signal that follows others, until `end` is called. */
export interface FollowingSignal {
  readonly signal: AbortSignal;
  /** Aborts the signal, and leaves nothing behind with those that it followed. */
  end(): void;
}

/**
 * Makes a signal that is aborted as soon as one of the others is. `AbortSignal.any` does the same, but on Node 20 each call takes memory
 * for as long as the longest-lived of the others lives.
 */
export function anySignal(signals: readonly AbortSignal[]): FollowingSignal {
  const controller = new AbortController();
  const abort = (event: Event) => controller.abort((event.target as AbortSignal).reason);
  for (const signal of signals) {
    if (signal.aborted) controller.abort(signal.reason);
    signal.addEventListener('abort', abort);
  }
  return {
    signal: controller.signal,
    end() {
      for (const signal of signals) signal.removeEventListener('abort', abort);
      controller.abort();
    },
  };
}

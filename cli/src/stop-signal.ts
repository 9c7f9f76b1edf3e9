/** One Ctrl-C may arrive twice: from the terminal, and from npm. A second signal is one that comes later than this. */
const SAME_SIGNAL_MS = 500;

/** Aborts at the first Ctrl-C (or SIGTERM, or a closed terminal); a second one ends the process at once. */
export function listenForStop(): AbortSignal {
  const stopping = new AbortController();
  let stoppingSince = 0;
  const stop = () => {
    if (!stopping.signal.aborted) stoppingSince = performance.now();
    else if (performance.now() - stoppingSince > SAME_SIGNAL_MS) process.exit(1);
    stopping.abort();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  return stopping.signal;
}

/** Resolves when the signal aborts. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Runs a start that may be cut short. @returns null when it was */
export async function unlessStopped<T>(signal: AbortSignal, start: Promise<T>): Promise<T | null> {
  try {
    return await start;
  } catch (error) {
    if (signal.aborted) return null;
    throw error;
  }
}

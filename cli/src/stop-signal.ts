/** Aborts at the first Ctrl-C (or SIGTERM, or a closed terminal); from then on those signals do nothing more. */
export function listenForStop(): AbortSignal {
  const stopping = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => stopping.abort());
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

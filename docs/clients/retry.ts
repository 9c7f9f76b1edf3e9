/** Errors as the graph returns them. Every client gives access to `extensions`. */
export interface GraphError {
  readonly message: string;
  readonly extensions?: { readonly code?: string; readonly reason?: string; readonly requestId?: string };
}

const RETRYABLE = new Set(['SUBGRAPH_UNAVAILABLE', 'TIMEOUT', 'RATE_LIMITED']);

/** Whether sending the operation again may succeed. For mutations only with the same idempotency key. */
export function isRetryable(errors: readonly GraphError[]): boolean {
  return errors.length > 0 && errors.every(({ extensions }) => RETRYABLE.has(extensions?.code ?? ''));
}

/**
 * Runs an operation until it succeeds, fails for good, or has failed five times. It waits 1 s, 2 s, 4 s and 8 s, more or
 * less, between attempts.
 *
 * @example
 * const key = crypto.randomUUID(); // once, not per attempt
 * const result = await retry(() => send(placeOrder, { input, key }));
 */
export async function retry<Result extends { readonly errors?: readonly GraphError[] }>(
  run: () => Promise<Result>,
  { attempts = 5, delayMs = 1000 } = {},
): Promise<Result> {
  for (let attempt = 1; ; attempt++) {
    const result = await run();
    if (attempt === attempts || !isRetryable(result.errors ?? [])) return result;
    const wait = delayMs * 2 ** (attempt - 1) * (0.75 + Math.random() / 2);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

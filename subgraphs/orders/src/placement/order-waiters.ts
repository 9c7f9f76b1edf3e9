/** The channel on which the database notifies of changed orders: ids with commas between, `!` after a settled one. */
export const ORDERS_CHANNEL = 'orders_changed';

/** Requests that wait until an order is settled: it has its final status, and nothing is left to do or undo for it. */
export class OrderWaiters {
  readonly #waiting = new Map<string, Set<(settled: boolean) => void>>();

  /** Begins to wait. @returns a promise of whether the order is settled; false: read it to find out */
  wait(orderId: string): { readonly settled: Promise<boolean>; stop(): void } {
    let resolve: (settled: boolean) => void = () => undefined;
    const settled = new Promise<boolean>((done) => {
      resolve = done;
    });
    const waiting = this.#waiting.get(orderId) ?? new Set();
    this.#waiting.set(orderId, waiting.add(resolve));
    return {
      settled,
      stop: () => {
        waiting.delete(resolve);
        if (waiting.size === 0 && this.#waiting.get(orderId) === waiting) this.#waiting.delete(orderId);
      },
    };
  }

  /** Resolves the waiters of the settled orders that a notification names. */
  onNotification(payload: string): void {
    for (const id of payload.split(',')) if (id.endsWith('!')) this.#resolve(id.slice(0, -1), true);
  }

  /** Resolves all waiters as not settled: a notification may have been missed, so each reads the order itself. */
  recheckAll(): void {
    for (const id of [...this.#waiting.keys()]) this.#resolve(id, false);
  }

  #resolve(orderId: string, settled: boolean): void {
    for (const resolve of this.#waiting.get(orderId) ?? []) resolve(settled);
  }
}

import { batchFetches, demultiplex, type EntityFetch, type EntityResult, type PendingFetch } from './entity-batch.js';
import type { ExecutionContext } from './execution-context.js';
import type { Executor } from './executor.js';

/**
 * Sends the entity fetches of one request to one subgraph that start in the same turn of the event loop together: those that differ only in
 * their representations become one batch, and all batches one operation.
 */
export class EntityBatcher {
  readonly #executor: Executor;
  readonly #merges: boolean;
  readonly #pending = new WeakMap<ExecutionContext, Map<string, PendingFetch[]>>();
  /** What to send at the end of this turn of the event loop, for all requests. */
  #due: (() => void)[] = [];

  /** @param merges whether fetches are merged; otherwise each is sent alone and at once */
  constructor(executor: Executor, merges: boolean) {
    this.#executor = executor;
    this.#merges = merges;
  }

  fetch(context: ExecutionContext, fetch: EntityFetch): Promise<EntityResult> {
    const { subgraph } = fetch.operation;
    return new Promise((resolve, reject) => {
      const fetched: PendingFetch = { ...fetch, resolve, reject };
      if (!this.#merges) {
        void this.#flush(context, [fetched]);
        return;
      }
      const pending = this.#pending.get(context) ?? new Map<string, PendingFetch[]>();
      this.#pending.set(context, pending);
      const fetches = pending.get(subgraph);
      if (fetches) fetches.push(fetched);
      else {
        const started = [fetched];
        pending.set(subgraph, started);
        if (this.#due.length === 0) setImmediate(() => this.#flushAll());
        this.#due.push(() => {
          pending.delete(subgraph);
          void this.#flush(context, started);
        });
      }
    });
  }

  #flushAll(): void {
    const due = this.#due;
    this.#due = [];
    for (const flush of due) flush();
  }

  /** Settles every fetch in any case, because nothing awaits this method. */
  async #flush(context: ExecutionContext, fetches: readonly PendingFetch[]): Promise<void> {
    try {
      const batches = batchFetches(fetches);
      const paths = fetches.map(({ path }) => path);
      const results = await this.#executor.fetchEntities(context, batches, paths);
      batches.forEach((batch, i) => {
        demultiplex(batch, results[i] as EntityResult);
      });
    } catch (error) {
      for (const { reject } of fetches) reject(error);
    }
  }
}

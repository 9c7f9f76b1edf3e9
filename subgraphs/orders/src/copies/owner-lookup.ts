import { setTimeout as sleep } from 'node:timers/promises';
import { inOneLine, MAX_IDS, stateEvent } from '@tributary/events';
import { ApiError } from '@tributary/server';
import DataLoader from 'dataloader';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import type { OrdersTables } from '../storage/tables.js';
import type { Copy } from './copies.js';

/** How long an owner may take for one look-up. */
const TIMEOUT_MS = 2000;
const LATE = 'the time of the request is up';

/** The services whose data orders refer to. */
export type OwnerName = Copy['source'];

/** An id to look up, and the time (`performance.now()`) after which no request waits for it. */
interface LookupKey {
  readonly id: string;
  readonly deadline: number;
}

/**
 * Reads users and products that the copies do not have from their owners, and adds them to the copies. At most one look-up
 * per owner runs at a time; ids that are requested meanwhile share the next ones, 100 ids each.
 */
export class OwnerLookup {
  readonly #loaders: ReadonlyMap<string, DataLoader<LookupKey, boolean>>;

  constructor(db: Kysely<OrdersTables>, copies: readonly Copy[], logger: Logger) {
    this.#loaders = new Map(copies.map((copy) => [copy.source, ownerLoader(db, copy, logger)]));
  }

  /**
   * Adds the owner's data of these ids to the copy.
   *
   * @param deadline when to give up, as `performance.now()` has it
   * @returns the ids that the owner does not have
   * @throws ApiError SUBGRAPH_UNAVAILABLE when the owner does not answer in time
   */
  async fetch(owner: OwnerName, ids: readonly string[], deadline: number): Promise<ReadonlySet<string>> {
    const loader = this.#loaders.get(owner);
    if (!loader) throw new Error(`Orders keeps no copy of ${owner}.`);
    try {
      const exists = await before(deadline, Promise.all(ids.map((id) => loader.load({ id, deadline }))));
      return new Set(ids.filter((_, i) => !exists[i]));
    } catch {
      throw new ApiError(
        'SUBGRAPH_UNAVAILABLE',
        `The ${owner} service does not answer, so the order was not placed; try again.`,
        { subgraph: owner },
      );
    }
  }
}

/** Waits until the deadline at most. @throws when it passes first */
async function before<T>(deadline: number, promise: Promise<T>): Promise<T> {
  const over = new AbortController();
  const time = sleep(Math.max(0, deadline - performance.now()), undefined, { signal: over.signal });
  const late = time.then(() => Promise.reject(new Error(LATE)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    over.abort();
    // Whichever lost the race may fail later.
    for (const lost of [promise, late]) lost.catch(() => undefined);
  }
}

function ownerLoader(db: Kysely<OrdersTables>, copy: Copy, logger: Logger): DataLoader<LookupKey, boolean> {
  let lookup: Promise<unknown> = Promise.resolve();
  let last: Promise<unknown> = lookup;
  return new DataLoader<LookupKey, boolean>(
    (keys) => {
      const found = lookUp(db, copy, keys);
      lookup = found.catch((error: unknown) => {
        logger.warn(
          { owner: copy.source, problem: inOneLine(error) },
          'looking up missing data in the owner of a copy failed',
        );
      });
      return found;
    },
    {
      cache: false,
      maxBatchSize: MAX_IDS,
      // One batch after the other, however many have gathered.
      batchScheduleFn: (dispatch) => {
        last = last.then(() => {
          dispatch();
          return lookup;
        });
      },
    },
  );
}

/** @returns for each id, whether the owner has it; an error for those whose deadline has passed */
async function lookUp(
  db: Kysely<OrdersTables>,
  copy: Copy,
  keys: readonly LookupKey[],
): Promise<readonly (boolean | Error)[]> {
  const now = performance.now();
  const awaited = keys.filter(({ deadline }) => deadline > now);
  const found = new Set<string>();
  if (awaited.length > 0) {
    const longestMs = Math.ceil(Math.max(...awaited.map(({ deadline }) => deadline - now)));
    const timeoutMs = Math.min(TIMEOUT_MS, longestMs);
    const ids = [...new Set(awaited.map(({ id }) => id))];
    // One row per statement: several would lock rows in another order than the consumer's batches.
    for (const state of await copy.eventLog.aggregatesById(copy.aggregateType, ids, timeoutMs)) {
      await copy.apply(db, [stateEvent(copy, state)]);
      found.add(state.id);
    }
  }
  return keys.map(({ id, deadline }) => (deadline > now ? found.has(id) : new Error(LATE)));
}

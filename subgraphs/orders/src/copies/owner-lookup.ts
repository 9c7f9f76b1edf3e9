import { ApiError } from '@tributary/shared/errors';
import { MAX_IDS } from '@tributary/shared/events/aggregates';
import { stateEvent } from '@tributary/shared/events/verify';
import DataLoader from 'dataloader';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import type { OrdersTables } from '../storage/tables.js';
import type { Copy } from './copies.js';

/** How long an owner may take. A placement waits for at most two look-ups, which is less than the gateway's time-out. */
const TIMEOUT_MS = 2000;

/** The services whose data orders refer to. */
export type OwnerName = Copy['source'];

/**
 * Asks the owners for users and products that the copies do not have, and adds what they know to the copies. At most one
 * look-up per owner is under way; ids that are asked for meanwhile share the next one.
 */
export class OwnerLookup {
  readonly #loaders: ReadonlyMap<string, DataLoader<string, boolean>>;

  constructor(db: Kysely<OrdersTables>, copies: readonly Copy[], logger: Logger) {
    this.#loaders = new Map(copies.map((copy) => [copy.source, ownerLoader(db, copy, logger)]));
  }

  /**
   * Brings what the owner knows under these ids into the copy.
   *
   * @returns the ids that the owner does not know
   * @throws ApiError SUBGRAPH_UNAVAILABLE when the owner does not answer in time
   */
  async fetch(owner: OwnerName, ids: readonly string[]): Promise<ReadonlySet<string>> {
    const loader = this.#loaders.get(owner);
    if (!loader) throw new Error(`Orders keeps no copy of ${owner}.`);
    const known = await Promise.all(ids.map((id) => loader.load(id)));
    return new Set(ids.filter((_, i) => !known[i]));
  }
}

function ownerLoader(db: Kysely<OrdersTables>, copy: Copy, logger: Logger): DataLoader<string, boolean> {
  let running: Promise<unknown> = Promise.resolve();
  return new DataLoader<string, boolean>(
    (ids) => {
      const lookup = lookUp(db, copy, ids).catch((error: Error) => {
        logger.warn({ owner: copy.source, problem: error.message }, 'the owner of a copy could not be asked');
        throw new ApiError(
          'SUBGRAPH_UNAVAILABLE',
          `The ${copy.source} service does not answer, so the order was not placed; try again.`,
          { subgraph: copy.source },
        );
      });
      running = lookup.catch(() => undefined);
      return lookup;
    },
    { cache: false, maxBatchSize: MAX_IDS, batchScheduleFn: (dispatch) => void running.then(dispatch) },
  );
}

/** @returns for each id, whether the owner knows it */
async function lookUp(db: Kysely<OrdersTables>, copy: Copy, ids: readonly string[]): Promise<boolean[]> {
  const states = await copy.ledger.aggregatesById(copy.aggregateType, [...new Set(ids)], TIMEOUT_MS);
  // One row per statement: several would lock rows in another order than the consumer's batches.
  for (const state of states) await copy.apply(db, [stateEvent(copy, state)]);
  const known = new Set(states.map(({ id }) => id));
  return ids.map((id) => known.has(id));
}

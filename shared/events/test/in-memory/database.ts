import type { Kysely } from 'kysely';
import type { DeadLetter } from '../../src/consumer/dead-letter-store.ts';

/** What the database of a consumer stores: its position, its dead letters and the rows of its copy. */
export interface InMemoryState {
  position: number;
  inSyncAt: number | null;
  inSyncPosition: number;
  deadLetters: Map<number, DeadLetter>;
  /** The versions of the copied aggregates, by id. */
  versions: Map<string, number>;
}

const copyOf = (state: InMemoryState): InMemoryState => ({
  ...state,
  deadLetters: new Map(state.deadLetters),
  versions: new Map(state.versions),
});

/** A consumer's database in memory: a transaction that fails leaves no trace, and no other reader sees one that has not ended. */
export class InMemoryDatabase {
  #committed: InMemoryState = {
    position: 0,
    inSyncAt: null,
    inSyncPosition: 0,
    deadLetters: new Map(),
    versions: new Map(),
  };

  /** What a reader sees now. */
  get committed(): InMemoryState {
    return this.#committed;
  }

  /** What a transaction of this database reads and writes. Only code of tests looks inside. */
  static stateOf(transaction: Kysely<unknown>): InMemoryState {
    return transaction as unknown as InMemoryState;
  }

  /** Runs work in a transaction. Callers run one at a time. */
  async transaction<Result>(run: (transaction: Kysely<unknown>) => Promise<Result>): Promise<Result> {
    const state = copyOf(this.#committed);
    const result = await run(state as unknown as Kysely<unknown>);
    this.#committed = state;
    return result;
  }

  /** Runs a part of a transaction: all of it or (by throwing) nothing. */
  async savepoint(transaction: Kysely<unknown>, run: () => Promise<void>): Promise<void> {
    const state = InMemoryDatabase.stateOf(transaction);
    const before = copyOf(state);
    try {
      await run();
    } catch (error) {
      Object.assign(state, before);
      throw error;
    }
  }
}

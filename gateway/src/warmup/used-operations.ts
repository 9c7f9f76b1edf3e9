import type { Operation, OperationSource } from '../operation/index.js';
import type { PlanVariant } from '../planning/index.js';
import type { Graph } from '../runtime/index.js';

/** An operation that clients have used, with the conditions of one of its plans. */
export interface UsedOperation {
  /** The hash of the operation on the graph that planned it last; null before the first one. */
  hash: string | null;
  source: OperationSource;
  variant: PlanVariant;
  /** How many requests have used it, halved with each half-life. */
  score: number;
  /** The text that may be stored; null when there is none, undefined when it is not written yet. */
  storable?: string | null;
}

/** The length of all texts together, in characters. */
const MAX_CHARACTERS = 4_000_000;
/** Collections with requests after which a use counts half: with one collection a minute, an hour. */
const HALF_LIFE = 60;
const DECAY = 0.5 ** (1 / HALF_LIFE);
/** What is used less is removed. A single use reaches this after six half-lives. */
const MIN_SCORE = 1 / 64;

/**
 * Lists the most used operations of the gateway, bounded in number and size. Each request counts its use in the plan that it has in hand;
 * `collect` adds these counts to the list at intervals.
 */
export class UsedOperations {
  readonly #limit: number;
  #entries: readonly UsedOperation[] = [];
  #version = 0;

  /** @param limit the most entries */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Changes with the list. */
  get version(): number {
    return this.#version;
  }

  /** Most used first. */
  get entries(): readonly UsedOperation[] {
    return this.#entries;
  }

  /** Adds the uses of a graph's plans since the last call. @returns the entries that are new, with their operations */
  collect({ operations, plans }: Graph): ReadonlyMap<UsedOperation, Operation> {
    const earlier = new Map(this.#entries.map((entry) => [entryKey(entry.hash, entry.variant), entry]));
    const used: { entry: UsedOperation; uses: number }[] = [];
    const added = new Map<UsedOperation, Operation>();
    for (const operation of operations.values()) {
      for (const { variant, prepared } of plans.variantsOf(operation)) {
        const { uses } = prepared;
        if (uses === 0) continue;
        prepared.uses = 0;
        const { hash, source } = operation;
        let entry = earlier.get(entryKey(hash, variant));
        if (entry) {
          entry.source = source;
          // The authoritative plan may have been needed since.
          entry.variant = variant;
        } else {
          entry = { hash, source, variant, score: 0 };
          added.set(entry, operation);
        }
        used.push({ entry, uses });
      }
    }
    // Without requests, nothing is replaced: the list of the evening is that of the morning.
    if (used.length === 0) return added;
    for (const entry of this.#entries) entry.score *= DECAY;
    for (const { entry, uses } of used) entry.score += uses;
    this.#replace([...this.#entries, ...added.keys()]);
    const listed = new Set(this.#entries);
    for (const entry of added.keys()) if (!listed.has(entry)) added.delete(entry);
    return added;
  }

  /** Adds operations that were stored. */
  add(stored: readonly UsedOperation[]): void {
    this.#replace([...this.#entries, ...stored]);
  }

  #replace(entries: UsedOperation[]): void {
    const list: UsedOperation[] = [];
    const keys = new Set<string>();
    let characters = 0;
    for (const entry of entries.sort((a, b) => b.score - a.score)) {
      if (list.length === this.#limit || entry.score < MIN_SCORE) break;
      const { length } = entry.source.query;
      const key = entryKey(entry.hash, entry.variant);
      // A stored operation that was used before it was planned again is in the list twice.
      if (characters + length > MAX_CHARACTERS || keys.has(key)) continue;
      if (entry.hash !== null) keys.add(key);
      characters += length;
      list.push(entry);
    }
    this.#entries = list;
    this.#version += 1;
  }
}

/** Equal for plans of one operation with the same conditions. */
function entryKey(hash: string | null, { conditions, overrides }: PlanVariant): string {
  return `${hash} ${conditions} ${JSON.stringify(overrides)}`;
}

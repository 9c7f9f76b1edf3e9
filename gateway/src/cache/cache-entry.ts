import { z } from 'zod';

/** The state that data was read from: a position for each source. */
export type Positions = readonly (readonly [source: string, position: number])[];

/** What cached data depends on: the entities whose changes make it stale. */
export interface Dependencies {
  /** The service that responded with the data. */
  readonly owner: string;
  /** The positions that the data was read from: the owner's own, and those of its copies of other services' data. */
  readonly positions: Positions;
  /** `Type:id`, or `*Type` for any of a type: stale after events of any service. */
  readonly entities: readonly string[];
  /** The same, stale after events of the owner only. */
  readonly owned: readonly string[];
}

/** An entity or a root field as JSON, and what it depends on. */
export interface CacheEntry extends Dependencies {
  readonly text: string;
  /** Milliseconds since 1970, by the clock of the gateway that wrote it. For reports only: `positions` decide how old it may be. */
  readonly storedAt: number;
}

/** Other contents of Redis are not entries. */
const entrySchema = z.object({
  text: z.string().refine(isJson),
  owner: z.string(),
  positions: z.array(z.tuple([z.string(), z.number()])),
  entities: z.array(z.string()),
  owned: z.array(z.string()),
  storedAt: z.number(),
});

/** Reads an entry from Redis. @returns undefined when there is none, or when it is malformed */
export function readEntry(text: string | null): CacheEntry | undefined {
  if (text === null) return undefined;
  try {
    return entrySchema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined;
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

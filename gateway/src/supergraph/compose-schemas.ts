import { IntrospectAndCompose } from '@apollo/gateway';
import type { GraphQLDataSource } from '@apollo/gateway/dist/datasources/types.js';
import type { Subgraph } from '../subgraph/index.js';

/** The schemas of subgraphs (SDL), by name. */
export type Schemas = ReadonlyMap<string, string>;

/** Sets of subgraphs that are tried, at most: composing blocks the event loop. */
const MAX_TRIES = 16;
/** How IntrospectAndCompose introduces the reasons why schemas do not compose, and each of them. */
const REASONS = "A valid schema couldn't be composed. The following composition errors were found:\n\t";
/** How it introduces the reason why one schema cannot be parsed. */
const UNREADABLE = /^Couldn't load service definitions for "[^"]*" at \S+: /;

/** Schemas do not compose. */
export class CompositionError extends Error {
  readonly reasons: readonly string[];

  constructor(reasons: readonly string[]) {
    super(`The schemas do not compose: ${reasons.join('; ')}`);
    this.reasons = reasons;
  }
}

/** Composes the subgraphs whose schema is given. @returns the supergraph, as SDL @throws CompositionError */
export async function composeSchemas(subgraphs: readonly Subgraph[], schemas: Schemas): Promise<string> {
  const { supergraphSdl, reasons } = await tryToCompose(subgraphs, schemas);
  if (supergraphSdl === undefined) throw new CompositionError(reasons);
  return supergraphSdl;
}

/** A supergraph of the largest set of subgraphs that composes. */
export interface LargestComposition {
  readonly supergraphSdl: string;
  /** The schemas that it is composed from. */
  readonly schemas: Schemas;
  /** Why the other subgraphs are left out; null when none is. */
  readonly problem: string | null;
}

/**
 * Composes as many of the subgraphs whose schema is given as compose together: a schema may need another one that is missing. Each further
 * try leaves out one more of the subgraphs that the errors name. @throws CompositionError when no set that was tried composes
 */
export async function composeLargest(subgraphs: readonly Subgraph[], schemas: Schemas): Promise<LargestComposition> {
  const sets = [schemas];
  const seen = new Set<string>();
  let first: readonly string[] | null = null;
  for (const set of sets) {
    const { supergraphSdl, reasons } = await tryToCompose(subgraphs, set);
    if (supergraphSdl !== undefined) return { supergraphSdl, schemas: set, problem: first?.join('; ') ?? null };
    first ??= reasons;
    const problem = reasons.join('; ');
    const names = [...set.keys()];
    const named = names.filter((name) => problem.includes(`"${name}"`) || problem.includes(`[${name}]`));
    for (const name of named.length > 0 ? named : names) {
      const smaller = new Map([...set].filter(([each]) => each !== name));
      const key = [...smaller.keys()].join();
      if (smaller.size === 0 || seen.has(key) || sets.length === MAX_TRIES) continue;
      seen.add(key);
      sets.push(smaller);
    }
  }
  throw new CompositionError(first ?? []);
}

type Attempt =
  | { readonly supergraphSdl: string; readonly reasons?: undefined }
  | { readonly supergraphSdl?: undefined; readonly reasons: readonly string[] };

/** Lets IntrospectAndCompose compose schemas that were read before: its data sources respond with them. */
async function tryToCompose(subgraphs: readonly Subgraph[], schemas: Schemas): Promise<Attempt> {
  const composed = subgraphs.filter(({ name }) => schemas.has(name)).map(({ name, url }) => ({ name, url }));
  const manager = new IntrospectAndCompose({ subgraphs: composed });
  try {
    const { supergraphSdl } = await manager.initialize({
      update: () => undefined,
      healthCheck: async () => undefined,
      getDataSource: ({ name }) => schemaSource(schemas.get(name) as string),
    });
    return { supergraphSdl };
  } catch (error) {
    const { message } = error as Error;
    if (message.startsWith(REASONS)) return { reasons: message.slice(REASONS.length).split('\n\t') };
    return { reasons: [message.replace(UNREADABLE, '')] };
  }
}

function schemaSource(sdl: string): GraphQLDataSource {
  return { process: async () => ({ data: { _service: { sdl } } }) };
}

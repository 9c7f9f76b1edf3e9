import { composeServices } from '@apollo/composition';
import { parse } from 'graphql';
import type { Subgraph } from '../subgraph/subgraph-client.js';

/** The schemas of subgraphs (SDL), by name. */
export type Schemas = ReadonlyMap<string, string>;

/** Composing is tried with at most so many sets of subgraphs, as it keeps everything else waiting. */
const MAX_TRIES = 16;

/** Why schemas do not compose. */
export class CompositionError extends Error {
  readonly reasons: readonly string[];

  constructor(reasons: readonly string[]) {
    super(`The schemas do not compose: ${reasons.join('; ')}`);
    this.reasons = reasons;
  }
}

/** Composes those subgraphs whose schema is known. @returns the supergraph, as SDL @throws CompositionError */
export function composeSchemas(subgraphs: readonly Subgraph[], schemas: Schemas): string {
  const { supergraphSdl, reasons } = tryToCompose(subgraphs, schemas);
  if (supergraphSdl === undefined) throw new CompositionError(reasons);
  return supergraphSdl;
}

/** A supergraph of the largest set of subgraphs that composes, of those whose schema is known. */
export interface LargestComposition {
  readonly supergraphSdl: string;
  /** Of the subgraphs that it is composed of. */
  readonly schemas: Schemas;
  /** Why the others are left out; null when none is. */
  readonly problem: string | null;
}

/**
 * Composes as many of the subgraphs whose schema is known as compose together: a schema may need another that is not known. One more is
 * left out at a time, of those that the errors name. @throws CompositionError when no set that was tried composes
 */
export function composeLargest(subgraphs: readonly Subgraph[], schemas: Schemas): LargestComposition {
  const sets = [schemas];
  const seen = new Set<string>();
  let first: readonly string[] | null = null;
  for (const set of sets) {
    const { supergraphSdl, reasons } = tryToCompose(subgraphs, set);
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

function tryToCompose(subgraphs: readonly Subgraph[], schemas: Schemas): Attempt {
  try {
    const services = subgraphs.flatMap(({ name, url }) => {
      const schema = schemas.get(name);
      return schema === undefined ? [] : [{ name, url, typeDefs: parse(schema) }];
    });
    const { errors, supergraphSdl } = composeServices(services);
    return errors ? { reasons: errors.map(({ message }) => message) } : { supergraphSdl };
  } catch (error) {
    return { reasons: [(error as Error).message] };
  }
}

import { isObject, type Json, type JsonObject, own } from '../lib/json.js';
import { textOf } from '../lib/json-text.js';
import type { TypeConditions } from '../lib/type-conditions.js';
import type { Rewrite } from '../planning/index.js';

type ContextRewrite = Extract<Rewrite, { kind: 'KeyRenamer' }>;

/**
 * What an entity's arguments from a context (`@fromContext`) are: each the name of a variable and its value as JSON.
 *
 * @param chain the objects that the entity is in, from the root of the answer to itself
 */
export type ReadContext = (chain: readonly JsonObject[]) => readonly (readonly [name: string, value: string])[];

const FRAGMENT = '... on ';

export function compileContext(rewrites: readonly ContextRewrite[], types: TypeConditions): ReadContext {
  const names = [...new Set(rewrites.map(({ renameKeyTo }) => renameKeyTo))].sort();
  return (chain) =>
    names.map((name) => {
      let found: Json | undefined;
      for (const { path, renameKeyTo } of rewrites) {
        if (renameKeyTo === name && found === undefined) found = valueAt(chain, path, types);
      }
      return [name, textOf(found ?? null)] as const;
    });
}

/** The value at a path that goes up (`..`), down by a field, or holds only for a type. */
function valueAt(chain: readonly JsonObject[], path: readonly string[], types: TypeConditions): Json | undefined {
  const up = path.filter((element) => element === '..').length;
  let value: Json | undefined = chain[chain.length - 1 - up];
  for (const element of path.slice(up)) {
    if (!isObject(value)) return value;
    if (element.startsWith(FRAGMENT)) {
      const typeName = value.__typename;
      if (typeof typeName !== 'string' || !types.holds(element.slice(FRAGMENT.length), typeName)) return undefined;
    } else value = own(value, element);
  }
  return value;
}

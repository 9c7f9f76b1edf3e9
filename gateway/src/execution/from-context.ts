import { isObject, type Json, type JsonObject, own } from '../lib/json.js';
import { textOf } from '../lib/json-text.js';
import type { TypeConditions } from '../lib/type-conditions.js';
import type { Rewrite } from '../planning/index.js';

type ContextRewrite = Extract<Rewrite, { kind: 'KeyRenamer' }>;

/**
 * Reads the arguments of an entity that come from a context (`@fromContext`): names of variables, with their values as JSON.
 *
 * @param ancestors the objects that contain the entity, from the root of the response to itself
 */
export type ReadContext = (ancestors: readonly JsonObject[]) => readonly (readonly [name: string, value: string])[];

const FRAGMENT = '... on ';

export function compileContext(rewrites: readonly ContextRewrite[], types: TypeConditions): ReadContext {
  const names = [...new Set(rewrites.map(({ renameKeyTo }) => renameKeyTo))].sort();
  return (ancestors) =>
    names.map((name) => {
      let found: Json | undefined;
      for (const { path, renameKeyTo } of rewrites) {
        if (renameKeyTo === name && found === undefined) found = valueAt(ancestors, path, types);
      }
      return [name, textOf(found ?? null)] as const;
    });
}

/** Reads the value at a path: `..` goes up, a field goes down, `... on T` requires a type. */
function valueAt(ancestors: readonly JsonObject[], path: readonly string[], types: TypeConditions): Json | undefined {
  const up = path.filter((element) => element === '..').length;
  let value: Json | undefined = ancestors[ancestors.length - 1 - up];
  for (const element of path.slice(up)) {
    if (!isObject(value)) return value;
    if (element.startsWith(FRAGMENT)) {
      const typeName = value.__typename;
      if (typeof typeName !== 'string' || !types.holds(element.slice(FRAGMENT.length), typeName)) return undefined;
    } else value = own(value, element);
  }
  return value;
}

import { isObject, type Json, type JsonObject, own } from '../lib/json.js';
import type { TypeConditions } from '../lib/type-conditions.js';

/**
 * Merges the result of another fetch into an object; lists of the same length are merged element by element. `__typename` stays when it
 * is an object type and the other result has an interface, which a subgraph may have instead of the object type.
 */
export function mergeInto(target: JsonObject, source: JsonObject, types: TypeConditions): void {
  for (const key in source) {
    const value = source[key];
    // Assigning `__proto__` would change the prototype.
    if (value === undefined || key === '__proto__') continue;
    if (key === '__typename' && types.isObject(target.__typename) && !types.isObject(value)) continue;
    target[key] = merged(own(target, key), value, types);
  }
}

function merged(before: Json | undefined, value: Json, types: TypeConditions): Json {
  if (isObject(before) && isObject(value)) {
    mergeInto(before, value, types);
    return before;
  }
  if (Array.isArray(before) && Array.isArray(value) && before.length === value.length) {
    for (let i = 0; i < value.length; i++) before[i] = merged(before[i], value[i] as Json, types);
    return before;
  }
  return value;
}

/** Values nested more deeply cannot be serialized, so they need no copy. */
const MAX_COPIED_DEPTH = 1000;

/** Copies a value deeply, for several requests that each change it. */
export function copyOf<T extends Json | undefined>(value: T, depth = 0): T {
  if (typeof value !== 'object' || value === null || depth > MAX_COPIED_DEPTH) return value;
  if (Array.isArray(value)) return value.map((element) => copyOf(element, depth + 1)) as T;
  const copy: JsonObject = {};
  for (const key in value) if (key !== '__proto__') copy[key] = copyOf(value[key], depth + 1);
  return copy as T;
}

import { isObject, type Json, type JsonObject, own } from '../lib/json.js';
import type { TypeConditions } from '../lib/type-conditions.js';

/**
 * Adds what another fetch brought to an object; lists of the same length are merged element by element. The type of an object
 * that is known stays when a subgraph knows no more of it than an interface.
 */
export function mergeInto(target: JsonObject, source: JsonObject, types: TypeConditions): void {
  for (const key in source) {
    const value = source[key];
    // Assigned, `__proto__` would change what the object is.
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

/** No value that is nested so deeply can be written, so that nothing is lost below. */
const MAX_COPIED_DEPTH = 1000;

/** A copy that shares nothing: what several requests were given, each of them changes. */
export function copyOf<T extends Json | undefined>(value: T, depth = 0): T {
  if (typeof value !== 'object' || value === null || depth > MAX_COPIED_DEPTH) return value;
  if (Array.isArray(value)) return value.map((element) => copyOf(element, depth + 1)) as T;
  const copy: JsonObject = {};
  for (const key in value) if (key !== '__proto__') copy[key] = copyOf(value[key], depth + 1);
  return copy as T;
}

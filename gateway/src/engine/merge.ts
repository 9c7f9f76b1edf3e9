import { isObject, type Json, type JsonObject, own } from './types.js';

/** Adds what another fetch brought to an object; lists of the same length are merged element by element. */
export function mergeInto(target: JsonObject, source: JsonObject): void {
  for (const key in source) {
    const value = source[key];
    // Assigned, this one would change what the object is.
    if (value === undefined || key === '__proto__') continue;
    target[key] = merged(own(target, key), value);
  }
}

function merged(before: Json | undefined, value: Json): Json {
  if (isObject(before) && isObject(value)) {
    mergeInto(before, value);
    return before;
  }
  if (Array.isArray(before) && Array.isArray(value) && before.length === value.length) {
    for (let i = 0; i < value.length; i++) before[i] = merged(before[i], value[i] as Json);
    return before;
  }
  return value;
}

/** A copy that shares nothing: what several requests were given, each of them changes. */
export function copyOf<T extends Json | undefined>(value: T): T {
  if (Array.isArray(value)) return value.map(copyOf) as T;
  if (!isObject(value)) return value;
  const copy: JsonObject = {};
  for (const key in value) if (key !== '__proto__') copy[key] = copyOf(value[key]);
  return copy as T;
}

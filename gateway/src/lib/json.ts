export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json | undefined;
}

export type Path = readonly (string | number)[];

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A field of an object; what every JavaScript object has by inheritance (`constructor`, `toString`) is not meant. */
export function own(object: JsonObject, name: string): Json | undefined {
  const value = object[name];
  return typeof value === 'function' ? undefined : value;
}

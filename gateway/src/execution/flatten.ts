import { isObject, type Json, type JsonObject, type Path } from '../lib/json.js';
import type { TypeConditions } from '../lib/type-conditions.js';
import type { PlanPath } from '../planning/index.js';

/** A step of a compiled path: a field's response name, `@`, or a condition on an object's type. */
export type Step = string | ((typeName: Json | undefined) => boolean);

/** Compiles a plan's path. */
export function compilePath(path: PlanPath, types: TypeConditions): readonly Step[] {
  return path.map((segment) => {
    const [, names] = /^\|\[(.*)\]$/.exec(String(segment)) ?? [];
    if (names === undefined) return String(segment);
    const conditions = names.split(',');
    return (typeName) => typeof typeName === 'string' && conditions.some((name) => types.holds(name, typeName));
  });
}

/** Collects the objects at a path below a value, in the order of the response; skips null and missing values. */
export function collectValues(value: Json | undefined, path: readonly Step[], from: number, into: JsonObject[]): void {
  if (value === undefined || value === null) return;
  const step = path[from];
  if (Array.isArray(value)) {
    const next = step === '@' ? from + 1 : from;
    for (const element of value) collectValues(element, path, next, into);
  } else if (isObject(value)) {
    if (step === undefined) into.push(value);
    else if (typeof step === 'string') collectValues(value[step], path, from + 1, into);
    else if (step(value.__typename)) collectValues(value, path, from + 1, into);
  }
}

/** Collects the paths of the same objects. */
export function collectPaths(
  value: Json | undefined,
  path: readonly Step[],
  from: number,
  here: Path,
  into: Path[],
): void {
  if (value === undefined || value === null) return;
  const step = path[from];
  if (Array.isArray(value)) {
    const next = step === '@' ? from + 1 : from;
    value.forEach((element, i) => {
      collectPaths(element, path, next, [...here, i], into);
    });
  } else if (isObject(value)) {
    if (step === undefined) into.push(here);
    else if (typeof step === 'string') collectPaths(value[step], path, from + 1, [...here, step], into);
    else if (step(value.__typename)) collectPaths(value, path, from + 1, here, into);
  }
}

/** Collects, for each of the same objects, the objects that contain it, from the root to itself. */
export function collectAncestors(
  value: Json | undefined,
  path: readonly Step[],
  from: number,
  above: readonly JsonObject[],
  into: (readonly JsonObject[])[],
): void {
  if (value === undefined || value === null) return;
  const step = path[from];
  if (Array.isArray(value)) {
    const next = step === '@' ? from + 1 : from;
    for (const element of value) collectAncestors(element, path, next, above, into);
  } else if (isObject(value)) {
    if (typeof step === 'function') {
      if (step(value.__typename)) collectAncestors(value, path, from + 1, above, into);
      return;
    }
    const ancestors = [...above, value];
    if (step === undefined) into.push(ancestors);
    else collectAncestors(value[step], path, from + 1, ancestors, into);
  }
}

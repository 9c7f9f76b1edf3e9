import { isObject, type Json, type JsonObject, type Path } from '../lib/json.js';
import type { PlanPath } from '../planning/index.js';

/** Collects the objects at a path below a value, in the order of the response; skips null and missing values. */
export function collectValues(value: Json | undefined, path: PlanPath, from: number, into: JsonObject[]): void {
  if (value === undefined || value === null) return;
  if (Array.isArray(value)) {
    const next = path[from] === '@' ? from + 1 : from;
    for (const element of value) collectValues(element, path, next, into);
  } else if (isObject(value)) {
    if (from === path.length) into.push(value);
    else collectValues(value[path[from] as string], path, from + 1, into);
  }
}

/** Collects the paths of the same objects. */
export function collectPaths(value: Json | undefined, path: PlanPath, from: number, here: Path, into: Path[]): void {
  if (value === undefined || value === null) return;
  if (Array.isArray(value)) {
    const next = path[from] === '@' ? from + 1 : from;
    value.forEach((element, i) => {
      collectPaths(element, path, next, [...here, i], into);
    });
  } else if (isObject(value)) {
    if (from === path.length) into.push(here);
    else collectPaths(value[path[from] as string], path, from + 1, [...here, path[from] as string], into);
  }
}

/** Collects, for each of the same objects, the objects that contain it, from the root to itself. */
export function collectAncestors(
  value: Json | undefined,
  path: PlanPath,
  from: number,
  above: readonly JsonObject[],
  into: (readonly JsonObject[])[],
): void {
  if (value === undefined || value === null) return;
  if (Array.isArray(value)) {
    const next = path[from] === '@' ? from + 1 : from;
    for (const element of value) collectAncestors(element, path, next, above, into);
  } else if (isObject(value)) {
    const ancestors = [...above, value];
    if (from === path.length) into.push(ancestors);
    else collectAncestors(value[path[from] as string], path, from + 1, ancestors, into);
  }
}

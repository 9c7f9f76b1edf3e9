import { isObject, type Json, type JsonObject, type Path } from '../lib/json.js';
import type { PlanPath } from '../planning/index.js';

/** The objects at a path below a value, in the order of the answer; what is null or not there is left out. */
export function collect(value: Json | undefined, path: PlanPath, from: number, into: JsonObject[]): void {
  if (value === undefined || value === null) return;
  if (Array.isArray(value)) {
    const next = path[from] === '@' ? from + 1 : from;
    for (const element of value) collect(element, path, next, into);
  } else if (isObject(value)) {
    if (from === path.length) into.push(value);
    else collect(value[path[from] as string], path, from + 1, into);
  }
}

/** The same, but the paths at which they are. */
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

/** The same, but the objects that each is in, itself included: from the root to it. */
export function collectChains(
  value: Json | undefined,
  path: PlanPath,
  from: number,
  above: readonly JsonObject[],
  into: (readonly JsonObject[])[],
): void {
  if (value === undefined || value === null) return;
  if (Array.isArray(value)) {
    const next = path[from] === '@' ? from + 1 : from;
    for (const element of value) collectChains(element, path, next, above, into);
  } else if (isObject(value)) {
    const chain = [...above, value];
    if (from === path.length) into.push(chain);
    else collectChains(value[path[from] as string], path, from + 1, chain, into);
  }
}

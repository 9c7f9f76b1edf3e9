import { isObject, type Json, type JsonObject } from '../lib/json.js';
import type { TypeConditions } from '../lib/type-conditions.js';
import type { Rewrite as PlanRewrite } from '../planning/index.js';

type Rewrite = (value: Json | undefined) => void;

const FRAGMENT = '... on ';

/** Compiles a plan's rewrites of representations or results (interface objects, renamed fields) to one function. */
export function compileRewrites(rewrites: readonly PlanRewrite[] | undefined, types: TypeConditions): Rewrite | null {
  if (!rewrites || rewrites.length === 0) return null;
  const compiled = rewrites.map((rewrite) => compileRewrite(rewrite, types));
  return (value) => {
    for (const rewrite of compiled) rewrite(value);
  };
}

function compileRewrite(rewrite: PlanRewrite, types: TypeConditions): Rewrite {
  const field = rewrite.path.at(-1) ?? '';
  const change = (object: JsonObject) => {
    if (rewrite.kind === 'ValueSetter') {
      object[field] = rewrite.setValueTo as Json;
    } else if (object[field] !== undefined) {
      // Null replaces nothing: an object has the fields of other types' renames, too.
      if (object[field] !== null || object[rewrite.renameKeyTo] === undefined) {
        object[rewrite.renameKeyTo] = object[field];
      }
      delete object[field];
    }
  };
  return rewrite.path
    .slice(0, -1)
    .reduceRight<Rewrite>((next, element) => stepInto(element, next, types), eachObject(change));
}

function stepInto(element: string, next: Rewrite, types: TypeConditions): Rewrite {
  if (!element.startsWith(FRAGMENT)) return eachObject((object) => next(object[element]));
  const condition = element.slice(FRAGMENT.length);
  return eachObject((object) => {
    const typeName = object.__typename;
    // Without `__typename`, which the operation did not select, the object has the type that the plan expects.
    if (typeof typeName !== 'string' || types.holds(condition, typeName)) next(object);
  });
}

function eachObject(change: (object: JsonObject) => void): Rewrite {
  const apply: Rewrite = (value) => {
    if (Array.isArray(value)) for (const element of value) apply(element);
    else if (isObject(value)) change(value);
  };
  return apply;
}

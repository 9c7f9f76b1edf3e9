import type { QueryPlanSelectionNode } from '@apollo/query-planner';
import { mergeInto } from './merge.js';
import type { TypeConditions } from './type-conditions.js';
import { isObject, type Json, type JsonObject, own } from './types.js';

/** Takes what a subgraph wants to know of an entity; null when the entity lacks some of it. */
export type Represent = (entity: JsonObject) => JsonObject | null;

export function compileRepresentation(selections: readonly QueryPlanSelectionNode[], types: TypeConditions): Represent {
  const parts = selections.map((selection) => compileSelection(selection, types));
  return (entity) => {
    const representation: JsonObject = {};
    for (const part of parts) if (!part(entity, representation)) return null;
    return representation;
  };
}

/** @returns whether everything was there */
type Part = (entity: JsonObject, into: JsonObject) => boolean;

function compileSelection(selection: QueryPlanSelectionNode, types: TypeConditions): Part {
  if (selection.kind === 'InlineFragment') {
    const { typeCondition } = selection;
    const inner = compileRepresentation(selection.selections, types);
    return (entity, into) => {
      const typeName = entity.__typename;
      if (typeCondition === undefined || typeof typeName !== 'string' || !types.holds(typeCondition, typeName))
        return true;
      const part = inner(entity);
      if (part) mergeInto(into, part, types);
      return true;
    };
  }
  const name = selection.alias ?? selection.name;
  const inner = selection.selections ? compileRepresentation(selection.selections, types) : null;
  const take = (value: Json): Json => {
    if (!inner || value === null) return value;
    if (Array.isArray(value)) return value.map(take);
    return isObject(value) ? inner(value) : value;
  };
  return (entity, into) => {
    const value = own(entity, name);
    if (value === undefined) return false;
    into[name] = take(value);
    return true;
  };
}

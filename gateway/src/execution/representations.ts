import { isObject, type Json, type JsonObject, own } from '../lib/json.js';
import { textOf } from '../lib/json-text.js';
import type { TypeConditions } from '../lib/type-conditions.js';
import type { RequiredSelection, Rewrite } from '../planning/index.js';
import { compileRewrites } from './data-rewrites.js';
import { mergeInto } from './deep-merge.js';

/** What stands for some entities in a request to a subgraph: each once, as JSON. */
export interface Representations {
  readonly texts: readonly string[];
  /** For each entity, which of the texts stands for it; -1 when it lacks some of what the subgraph wants to know. */
  readonly indices: readonly number[];
}

/** Takes of entities what a subgraph wants to know of them. */
export type Represent = (entities: readonly JsonObject[]) => Representations;

/** Whether fields hold a key of a type, by which the subgraph can find the entity. */
export type HoldsKey = (typeName: string, isThere: (field: string) => boolean) => boolean;

/** @param holdsKey entities without a key are not sent: the subgraph could only fail */
export function compileRepresentation(
  selections: readonly RequiredSelection[],
  rewrites: readonly Rewrite[] | undefined,
  types: TypeConditions,
  holdsKey: HoldsKey = () => true,
): Represent {
  const take = compileTake(selections, types);
  const rewrite = compileRewrites(rewrites, types);
  const general = (entity: JsonObject): string | null => {
    const representation = take(entity);
    if (typeof representation?.__typename !== 'string') return null;
    rewrite?.(representation);
    const isThere = (field: string) => own(representation, field) !== undefined;
    if (!holdsKey(representation.__typename as string, isThere)) return null;
    return JSON.stringify(representation);
  };
  const byType = new Map<string, readonly Field[] | null>();
  const fieldsOf = (typeName: string) => {
    let fields = byType.get(typeName);
    if (fields === undefined) {
      fields = rewrite ? null : compileFields(selectionsFor(typeName, selections, types));
      const names = fields?.map(({ name }) => name);
      if (names && !holdsKey(typeName, (field) => names.includes(field))) fields = null;
      if (types.isKnown(typeName)) byType.set(typeName, fields);
    }
    return fields;
  };

  return (entities) => {
    const texts: string[] = [];
    const known: Known = new Map();
    const indices = entities.map((entity) => {
      const typeName = entity.__typename;
      if (typeof typeName !== 'string') return -1;
      const fields = fieldsOf(typeName);
      if (fields) return place(entity, fields, known, texts);
      const text = general(entity);
      if (text === null) return -1;
      const index = known.get(text);
      if (typeof index === 'number') return index;
      known.set(text, texts.length);
      return texts.push(text) - 1;
    });
    return { texts, indices };
  };
}

/** What was represented already: by one value after the other, of the same type, its index; by texts, where they are made anyway. */
type Known = Map<unknown, Known | number>;

/** A field of a representation; `read` says its value, or undefined, and `text` what that is as JSON. */
interface Field {
  readonly name: string;
  readonly start: string;
  readonly inner: readonly Field[] | null;
}

/** The index of an entity's text, which is made only when no other entity before had the same values. */
function place(entity: JsonObject, fields: readonly Field[], known: Known, texts: string[]): number {
  let level = known;
  const last = fields.length - 1;
  for (let i = 0; i < last; i++) {
    const key = keyOf(entity, fields[i] as Field);
    if (key === undefined) return -1;
    let next = level.get(key) as Known | undefined;
    if (next === undefined) {
      next = new Map();
      level.set(key, next);
    }
    level = next;
  }
  const key = keyOf(entity, fields[last] as Field);
  if (key === undefined) return -1;
  const index = level.get(key) as number | undefined;
  if (index !== undefined) return index;
  level.set(key, texts.length);
  return texts.push(textOfFields(entity, fields) as string) - 1;
}

/** A value to tell entities apart by; objects and lists by their text, which no plain value looks like. */
function keyOf(entity: JsonObject, { name, inner }: Field): unknown {
  const value = own(entity, name);
  return typeof value === 'object' && value !== null ? `\0${innerText(value, inner)}` : value;
}

function textOfFields(entity: JsonObject, fields: readonly Field[]): string | null {
  let text = '';
  for (const { name, start, inner } of fields) {
    const value = own(entity, name);
    if (value === undefined) return null;
    text += start + innerText(value, inner);
  }
  return `${text}}`;
}

function innerText(value: Json, fields: readonly Field[] | null): string {
  if (!fields || typeof value !== 'object' || value === null) return textOf(value);
  if (Array.isArray(value)) return `[${value.map((element) => innerText(element, fields)).join()}]`;
  return textOfFields(value, fields) ?? 'null';
}

/** What is selected of a type, when that is one set of fields: several, or fragments in them, are left to the general way. */
function selectionsFor(
  typeName: string,
  selections: readonly RequiredSelection[],
  types: TypeConditions,
): readonly RequiredSelection[] {
  const fitting = selections.filter(
    (selection) =>
      selection.kind === 'Field' ||
      (selection.typeCondition !== undefined && types.holds(selection.typeCondition, typeName)),
  );
  const [only] = fitting;
  return fitting.length === 1 && only?.kind === 'InlineFragment' ? only.selections : fitting;
}

/** @returns null when there is more than fields, or not the type, which comes first: those of different types are never alike */
function compileFields(selections: readonly RequiredSelection[], below = false): readonly Field[] | null {
  const fields: Field[] = [];
  const typeFirst = [...selections].sort((a, b) => Number(isTypeName(b)) - Number(isTypeName(a)));
  for (const selection of typeFirst) {
    if (selection.kind !== 'Field') return null;
    const inner = selection.selections ? compileFields(selection.selections, true) : null;
    if (selection.selections && !inner) return null;
    const name = selection.alias ?? selection.name;
    fields.push({ name, start: `${fields.length === 0 ? '{' : ','}"${name}":`, inner });
  }
  const [first] = typeFirst;
  return fields.length > 0 && (below || (first && isTypeName(first))) ? fields : null;
}

function isTypeName(selection: RequiredSelection): boolean {
  return selection.kind === 'Field' && selection.name === '__typename' && !selection.alias;
}

type Take = (entity: JsonObject) => JsonObject | null;

function compileTake(selections: readonly RequiredSelection[], types: TypeConditions): Take {
  const parts = selections.map((selection) => compileSelection(selection, types));
  return (entity) => {
    const representation: JsonObject = {};
    for (const part of parts) if (!part(entity, representation)) return null;
    return representation;
  };
}

/** @returns whether everything was there */
type Part = (entity: JsonObject, into: JsonObject) => boolean;

function compileSelection(selection: RequiredSelection, types: TypeConditions): Part {
  if (selection.kind === 'InlineFragment') {
    const { typeCondition } = selection;
    const inner = compileTake(selection.selections, types);
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
  const inner = selection.selections ? compileTake(selection.selections, types) : null;
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

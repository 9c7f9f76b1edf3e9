import { isObject, type Json, type JsonObject, own } from '../lib/json.js';
import { textOf } from '../lib/json-text.js';
import type { TypeConditions } from '../lib/type-conditions.js';
import type { RequiredSelection, Rewrite } from '../planning/index.js';
import { compileRewrites } from './data-rewrites.js';
import { mergeInto } from './deep-merge.js';

/** The representations of some entities, each once, as JSON. */
export interface Representations {
  readonly texts: readonly string[];
  /** For each entity, the index of its representation in `texts`; -1 when it lacks a required field. */
  readonly indices: readonly number[];
}

/** Builds the representations of entities. */
export type BuildRepresentations = (entities: readonly JsonObject[]) => Representations;

/** Whether fields include a key of a type, by which the subgraph can find the entity. */
export type HasKey = (typeName: string, hasField: (field: string) => boolean) => boolean;

/**
 * Compiles the `requires` selections of a fetch to a function that builds representations.
 *
 * @param hasKey entities without a key are left out, because the subgraph could not find them
 */
export function compileRepresentations(
  selections: readonly RequiredSelection[],
  rewrites: readonly Rewrite[] | undefined,
  types: TypeConditions,
  hasKey: HasKey = () => true,
): BuildRepresentations {
  const select = compileSelections(selections, types);
  const rewrite = compileRewrites(rewrites, types);
  const general = (entity: JsonObject): string | null => {
    const representation = select(entity);
    if (typeof representation?.__typename !== 'string') return null;
    rewrite?.(representation);
    const hasField = (field: string) => own(representation, field) !== undefined;
    if (!hasKey(representation.__typename as string, hasField)) return null;
    return JSON.stringify(representation);
  };
  const byType = new Map<string, readonly Field[] | null>();
  const fieldsOf = (typeName: string) => {
    let fields = byType.get(typeName);
    if (fields === undefined) {
      fields = rewrite ? null : compileFields(selectionsFor(typeName, selections, types));
      const names = fields?.map(({ name }) => name);
      if (names && !hasKey(typeName, (field) => names.includes(field))) fields = null;
      if (types.isKnown(typeName)) byType.set(typeName, fields);
    }
    return fields;
  };

  return (entities) => {
    const texts: string[] = [];
    const byValues: IndexTree = new Map();
    const indices = entities.map((entity) => {
      const typeName = entity.__typename;
      if (typeof typeName !== 'string') return -1;
      const fields = fieldsOf(typeName);
      if (fields) return indexOf(entity, fields, byValues, texts);
      const text = general(entity);
      if (text === null) return -1;
      const index = byValues.get(text);
      if (typeof index === 'number') return index;
      byValues.set(text, texts.length);
      return texts.push(text) - 1;
    });
    return { texts, indices };
  };
}

/** Indices of representations: by the values of their fields, one level for each, or by texts, where these are made for every entity. */
type IndexTree = Map<unknown, IndexTree | number>;

/** A field of a representation. */
interface Field {
  readonly name: string;
  /** The JSON in front of its value. */
  readonly start: string;
  /** The fields of its value; null for a scalar. */
  readonly inner: readonly Field[] | null;
}

/** The index of an entity's representation, which is written only for the first entity with these values. */
function indexOf(entity: JsonObject, fields: readonly Field[], byValues: IndexTree, texts: string[]): number {
  let level = byValues;
  const last = fields.length - 1;
  for (let i = 0; i < last; i++) {
    const key = keyOf(entity, fields[i] as Field);
    if (key === undefined) return -1;
    let next = level.get(key) as IndexTree | undefined;
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

/** A key that is equal for equal values. Objects and lists have their text, with a prefix that plain values do not have. */
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

/** The selections that apply to a type; the content of the only one when that is a fragment. */
function selectionsFor(
  typeName: string,
  selections: readonly RequiredSelection[],
  types: TypeConditions,
): readonly RequiredSelection[] {
  const applicable = selections.filter(
    (selection) =>
      selection.kind === 'Field' ||
      (selection.typeCondition !== undefined && types.holds(selection.typeCondition, typeName)),
  );
  const [only] = applicable;
  return applicable.length === 1 && only?.kind === 'InlineFragment' ? only.selections : applicable;
}

/**
 * Compiles selections that consist of fields only.
 *
 * @returns null when there are fragments, or no `__typename`. It comes first, so that entities of different types always differ
 */
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

/** Selects the required fields of an entity; null when one is missing. */
type Select = (entity: JsonObject) => JsonObject | null;

function compileSelections(selections: readonly RequiredSelection[], types: TypeConditions): Select {
  const parts = selections.map((selection) => compileSelection(selection, types));
  return (entity) => {
    const representation: JsonObject = {};
    for (const part of parts) if (!part(entity, representation)) return null;
    return representation;
  };
}

/** Copies a selection of an entity. @returns false when a required field is missing */
type Part = (entity: JsonObject, into: JsonObject) => boolean;

function compileSelection(selection: RequiredSelection, types: TypeConditions): Part {
  if (selection.kind === 'InlineFragment') {
    const { typeCondition } = selection;
    const inner = compileSelections(selection.selections, types);
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
  const inner = selection.selections ? compileSelections(selection.selections, types) : null;
  const selectIn = (value: Json): Json => {
    if (!inner || value === null) return value;
    if (Array.isArray(value)) return value.map(selectIn);
    return isObject(value) ? inner(value) : value;
  };
  return (entity, into) => {
    const value = own(entity, name);
    if (value === undefined) return false;
    into[name] = selectIn(value);
    return true;
  };
}

import {
  type GraphQLCompositeType,
  GraphQLError,
  type GraphQLInterfaceType,
  type GraphQLLeafType,
  type GraphQLNamedType,
  type GraphQLObjectType,
  type GraphQLOutputType,
  isEnumType,
  isInterfaceType,
  isLeafType,
  isListType,
  isNonNullType,
  isObjectType,
  type OperationDefinitionNode,
  type SelectionSetNode,
} from 'graphql';
import { withCause } from '../lib/error-cause.js';
import type { ResponseErrors } from '../lib/error-list.js';
import { isObject, type Json, type JsonObject, own, type Path } from '../lib/json.js';
import { isJson } from '../lib/json-text.js';
import { fits, isRootType, type SelectedField, type ShapeParts, selectedFields } from './collect-fields.js';

/** Makes of what the subgraphs gave what the client asked for: its names and order, its nulls, nothing else. */
export type Shape = (data: JsonObject, errors: ResponseErrors) => JsonObject | null;

/** What a value becomes; undefined: it must not be null and is, so that what holds it becomes null. */
type Complete = (value: Json | undefined, at: Place, errors: ResponseErrors) => Json | undefined;

/** Where a value is in the data, in the names of the plan: a list from the inside out, made only of what is needed for an error. */
interface Place {
  readonly key: string | number;
  readonly above: Place | null;
}

interface ShapedField {
  readonly responseName: string;
  readonly from: string;
  readonly complete: Complete;
}

/** Compiles the shape of an operation's answer, for the values that its @skip and @include have. */
export function compileShape(operation: OperationDefinitionNode, parts: ShapeParts): Shape {
  const root = parts.schema.getRootType(operation.operation);
  if (!root) throw new GraphQLError(`The schema has no ${operation.operation}s.`);
  const fields = compileFields(root, [operation.selectionSet], parts);
  return (data, errors) => shapeObject(fields, data, null, errors) ?? null;
}

function shapeObject(
  fields: readonly ShapedField[],
  data: JsonObject,
  at: Place | null,
  errors: ResponseErrors,
): JsonObject | undefined {
  const shaped: JsonObject = {};
  for (const { responseName, from, complete } of fields) {
    const value = complete(own(data, from), { key: from, above: at }, errors);
    if (value === undefined) return undefined;
    shaped[responseName] = value;
  }
  return shaped;
}

function compileFields(
  type: GraphQLObjectType | GraphQLInterfaceType,
  selectionSets: readonly SelectionSetNode[],
  parts: ShapeParts,
): ShapedField[] {
  return selectedFields(type, selectionSets, parts).map((field) => ({
    responseName: field.responseName,
    from: field.from,
    complete: compileField(type, field, parts),
  }));
}

function compileField(
  type: GraphQLObjectType | GraphQLInterfaceType,
  field: SelectedField,
  parts: ShapeParts,
): Complete {
  if (field.type) return compileValue(field.type, `${type.name}.${field.name}`, field.selectionSets, parts);
  if (field.name !== '__typename') return () => parts.introspection?.[field.responseName] ?? null;
  if (isObjectType(type)) return () => type.name;
  return (_value, at, errors) => refuse(at, `${type.name}: expected an object of a known type.`, errors) ?? undefined;
}

function compileValue(
  type: GraphQLOutputType,
  field: string,
  selectionSets: readonly SelectionSetNode[],
  parts: ShapeParts,
): Complete {
  if (isNonNullType(type)) {
    const inner = compileValue(type.ofType, field, selectionSets, parts);
    return (value, at, errors) => {
      const completed = inner(value, at, errors);
      if (completed !== null) return completed;
      tellMissing(at, field, errors);
      return undefined;
    };
  }
  if (isListType(type)) {
    const inner = compileValue(type.ofType, field, selectionSets, parts);
    return (value, at, errors) => {
      if (value === undefined || value === null) return null;
      if (!Array.isArray(value))
        return refuse(at, `${field}: expected a list; the subgraph returned ${kindOf(value)}.`, errors);
      const list: Json[] = [];
      for (let i = 0; i < value.length; i++) {
        const completed = inner(value[i], { key: i, above: at }, errors);
        if (completed === undefined) return null;
        list.push(completed);
      }
      return list;
    };
  }
  if (isLeafType(type)) return compileLeaf(type, field);
  return compileComposite(type as GraphQLCompositeType, field, selectionSets, parts);
}

function compileComposite(
  type: GraphQLCompositeType,
  field: string,
  selectionSets: readonly SelectionSetNode[],
  parts: ShapeParts,
): Complete {
  const shapes = new Map<string, readonly ShapedField[] | null>();
  const shapeOf = (typeName: string) => {
    let shape = shapes.get(typeName);
    if (shape === undefined) {
      const runtime = parts.schema.getType(typeName);
      // Of an interface's object the type is not always asked for: only the interface's own fields may be wanted.
      const shaped = isInterfaceType(runtime) ? type : runtime;
      const fields = isObjectType(shaped) || isInterfaceType(shaped) ? shaped : null;
      shape =
        fields && fits(parts.schema, type, runtime as GraphQLNamedType)
          ? compileFields(fields, selectionSets, parts)
          : null;
      // A subgraph can make up names without end.
      if (runtime) shapes.set(typeName, shape);
    }
    return shape;
  };
  const isRoot = isRootType(type, parts.schema);
  return (value, at, errors) => {
    if (value === undefined || value === null) return null;
    if (!isObject(value))
      return refuse(at, `${field}: expected an object; the subgraph returned ${kindOf(value)}.`, errors);
    // A type that clients are not to know, that is none at all, or that is no member of the declared one, is not shown. A subgraph
    // may have another name for its root type.
    const given = isRoot ? type.name : value.__typename;
    const fields = shapeOf(typeof given === 'string' ? given : type.name);
    if (!fields)
      return refuse(
        at,
        `${field}: expected an object of type ${type.name}; the subgraph returned one of another type.`,
        errors,
      );
    return shapeObject(fields, value, at, errors) ?? null;
  };
}

const LEAVES: Readonly<Record<string, (value: Json) => boolean>> = {
  Int: (value) => Number.isInteger(value) && value === ((value as number) | 0),
  Float: (value) => Number.isFinite(value),
  String: (value) => typeof value === 'string',
  Boolean: (value) => typeof value === 'boolean',
};

function compileLeaf(type: GraphQLLeafType, field: string): Complete {
  const { name } = type;
  const known = isEnumType(type) ? new Set(type.getValues().map((value) => value.name)) : null;
  const isOfType = known ? (value: Json) => typeof value === 'string' && known.has(value) : (LEAVES[name] ?? isJson);
  return (value, at, errors) => {
    if (value === undefined || value === null) return null;
    if (name === 'ID') {
      if (typeof value === 'string') return value;
      // A larger number has lost digits already.
      if (Number.isSafeInteger(value)) return String(value);
    } else if (isOfType(value)) return value;
    return refuse(
      at,
      `${field}: expected a value of type ${name}; the subgraph returned ${kindOf(value)} that is none.`,
      errors,
    );
  };
}

function refuse(at: Place, message: string, errors: ResponseErrors): null {
  addInvalid(pathOf(at), message, errors);
  return null;
}

function addInvalid(path: Path, message: string, errors: ResponseErrors): void {
  errors.add({ message, paths: [path], extensions: withCause({ code: 'INVALID_SUBGRAPH_RESPONSE' }, message) });
}

/** What a value is, without the value, which may be personal data. */
function kindOf(value: Json): string {
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** A null that must not be has mostly been explained: by an error there, below it, or above it. */
function tellMissing(at: Place, field: string, errors: ResponseErrors): void {
  if (errors.isFull) return;
  const path = pathOf(at);
  if (errors.explains(path)) return;
  addInvalid(path, `Cannot return null for non-nullable field ${field}.`, errors);
}

function pathOf(at: Place): Path {
  const path: (string | number)[] = [];
  for (let place: Place | null = at; place; place = place.above) path.push(place.key);
  return path.reverse();
}

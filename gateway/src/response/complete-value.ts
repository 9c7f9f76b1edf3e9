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
import {
  type CollectedField,
  type CompletionInputs,
  collectFields,
  isAllowedType,
  isRootType,
} from './collect-fields.js';

/**
 * Completes the data of a response: selects the client's fields under its response names and in its order, checks every value against its
 * type, and propagates nulls. Adds an error for each invalid value. Returns null when a non-nullable root field is null.
 */
export type CompleteData = (data: JsonObject, errors: ResponseErrors) => JsonObject | null;

/** Completes a value. Returns undefined for a null at a non-nullable type, which makes the parent null. */
type CompleteValue = (value: Json | undefined, at: Place, errors: ResponseErrors) => Json | undefined;

/** The path of a value in the data, as a linked list from the value to the root: only errors need it as an array. */
interface Place {
  readonly key: string | number;
  readonly parent: Place | null;
}

interface FieldCompletion {
  readonly responseName: string;
  readonly dataKey: string;
  readonly complete: CompleteValue;
}

/** Compiles the completion of an operation's response, for one set of conditions. */
export function compileCompletion(operation: OperationDefinitionNode, inputs: CompletionInputs): CompleteData {
  const root = inputs.schema.getRootType(operation.operation);
  if (!root) throw new GraphQLError(`The schema has no ${operation.operation}s.`);
  const fields = compileFields(root, [operation.selectionSet], inputs);
  return (data, errors) => completeObject(fields, data, null, errors) ?? null;
}

function completeObject(
  fields: readonly FieldCompletion[],
  data: JsonObject,
  at: Place | null,
  errors: ResponseErrors,
): JsonObject | undefined {
  const completed: JsonObject = {};
  for (const { responseName, dataKey, complete } of fields) {
    const value = complete(own(data, dataKey), { key: dataKey, parent: at }, errors);
    if (value === undefined) return undefined;
    completed[responseName] = value;
  }
  return completed;
}

function compileFields(
  type: GraphQLObjectType | GraphQLInterfaceType,
  selectionSets: readonly SelectionSetNode[],
  inputs: CompletionInputs,
): FieldCompletion[] {
  return collectFields(type, selectionSets, inputs).map((field) => ({
    responseName: field.responseName,
    dataKey: field.dataKey,
    complete: compileField(type, field, inputs),
  }));
}

function compileField(
  type: GraphQLObjectType | GraphQLInterfaceType,
  field: CollectedField,
  inputs: CompletionInputs,
): CompleteValue {
  if (field.type) return compileValue(field.type, `${type.name}.${field.name}`, field.selectionSets, inputs);
  if (field.name !== '__typename') return () => inputs.introspection?.[field.responseName] ?? null;
  if (isObjectType(type)) return () => type.name;
  return (_value, at, errors) =>
    addInvalidAt(at, `${type.name}: expected an object of a known type.`, errors) ?? undefined;
}

function compileValue(
  type: GraphQLOutputType,
  field: string,
  selectionSets: readonly SelectionSetNode[],
  inputs: CompletionInputs,
): CompleteValue {
  if (isNonNullType(type)) {
    const inner = compileValue(type.ofType, field, selectionSets, inputs);
    return (value, at, errors) => {
      const completed = inner(value, at, errors);
      if (completed !== null) return completed;
      addMissing(at, field, errors);
      return undefined;
    };
  }
  if (isListType(type)) {
    const inner = compileValue(type.ofType, field, selectionSets, inputs);
    return (value, at, errors) => {
      if (value === undefined || value === null) return null;
      if (!Array.isArray(value))
        return addInvalidAt(at, `${field}: expected a list; the subgraph returned ${kindOf(value)}.`, errors);
      const list: Json[] = [];
      for (let i = 0; i < value.length; i++) {
        const completed = inner(value[i], { key: i, parent: at }, errors);
        if (completed === undefined) return null;
        list.push(completed);
      }
      return list;
    };
  }
  if (isLeafType(type)) return compileLeaf(type, field);
  return compileComposite(type as GraphQLCompositeType, field, selectionSets, inputs);
}

function compileComposite(
  type: GraphQLCompositeType,
  field: string,
  selectionSets: readonly SelectionSetNode[],
  inputs: CompletionInputs,
): CompleteValue {
  const fieldsByType = new Map<string, readonly FieldCompletion[] | null>();
  const fieldsOf = (typeName: string) => {
    let fields = fieldsByType.get(typeName);
    if (fields === undefined) {
      const runtime = inputs.schema.getType(typeName);
      // The data has no object type where only the interface's own fields are selected.
      const parent = isInterfaceType(runtime) ? type : runtime;
      const parentType = isObjectType(parent) || isInterfaceType(parent) ? parent : null;
      fields =
        parentType && isAllowedType(inputs.schema, type, runtime as GraphQLNamedType)
          ? compileFields(parentType, selectionSets, inputs)
          : null;
      // Only types of the schema are added: a subgraph could invent names without end.
      if (runtime) fieldsByType.set(typeName, fields);
    }
    return fields;
  };
  const isRoot = isRootType(type, inputs.schema);
  return (value, at, errors) => {
    if (value === undefined || value === null) return null;
    if (!isObject(value))
      return addInvalidAt(at, `${field}: expected an object; the subgraph returned ${kindOf(value)}.`, errors);
    // An object of a hidden type, of an undefined type, or of a type that the declared one excludes is not shown. For root types, a
    // subgraph may use another name.
    const typeName = isRoot ? type.name : value.__typename;
    const fields = fieldsOf(typeof typeName === 'string' ? typeName : type.name);
    if (!fields)
      return addInvalidAt(
        at,
        `${field}: expected an object of type ${type.name}; the subgraph returned one of another type.`,
        errors,
      );
    return completeObject(fields, value, at, errors) ?? null;
  };
}

/** Checks of the built-in scalars, except for ID, whose integers are converted. */
const LEAVES: Readonly<Record<string, (value: Json) => boolean>> = {
  Int: (value) => Number.isInteger(value) && value === ((value as number) | 0),
  Float: (value) => Number.isFinite(value),
  String: (value) => typeof value === 'string',
  Boolean: (value) => typeof value === 'boolean',
};

function compileLeaf(type: GraphQLLeafType, field: string): CompleteValue {
  const { name } = type;
  const names = isEnumType(type) ? new Set(type.getValues().map((value) => value.name)) : null;
  const isOfType = names ? (value: Json) => typeof value === 'string' && names.has(value) : (LEAVES[name] ?? isJson);
  return (value, at, errors) => {
    if (value === undefined || value === null) return null;
    if (name === 'ID') {
      if (typeof value === 'string') return value;
      // A larger number has already lost digits.
      if (Number.isSafeInteger(value)) return String(value);
    } else if (isOfType(value)) return value;
    return addInvalidAt(
      at,
      `${field}: expected a value of type ${name}; the subgraph returned ${kindOf(value)} that is none.`,
      errors,
    );
  };
}

/** Adds an error about an invalid value. @returns null, which replaces the value */
function addInvalidAt(at: Place, message: string, errors: ResponseErrors): null {
  addInvalid(pathOf(at), message, errors);
  return null;
}

function addInvalid(path: Path, message: string, errors: ResponseErrors): void {
  errors.add({ message, paths: [path], extensions: withCause({ code: 'INVALID_SUBGRAPH_RESPONSE' }, message) });
}

/** Describes a value by its kind only: the value itself may be personal data. */
function kindOf(value: Json): string {
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** Adds an error about a null at a non-nullable type, unless an error at, above or below it explains the null. */
function addMissing(at: Place, field: string, errors: ResponseErrors): void {
  if (errors.isFull) return;
  const path = pathOf(at);
  if (errors.explains(path)) return;
  addInvalid(path, `Cannot return null for non-nullable field ${field}.`, errors);
}

function pathOf(at: Place): Path {
  const path: (string | number)[] = [];
  for (let place: Place | null = at; place; place = place.parent) path.push(place.key);
  return path.reverse();
}

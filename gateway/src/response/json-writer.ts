import {
  type GraphQLCompositeType,
  type GraphQLInterfaceType,
  type GraphQLLeafType,
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
import { isObject, type Json, type JsonObject } from '../lib/json.js';
import { isJson, type Quote, textOf } from '../lib/json-text.js';
import {
  type CollectedField,
  type CompletionInputs,
  collectFields,
  isAllowedType,
  isRootType,
} from './collect-fields.js';

/**
 * Writes the client's fields as JSON directly from the data. Returns null when any value is invalid by the schema (a null at a non-nullable
 * type, a value of another type): completing the data then adds the errors.
 */
export type JsonWriter = (data: JsonObject, quote: Quote) => string | null;

/** Writes a value that is not null. */
type WriteValue = (value: Json, quote: Quote) => string | null;

/** Compiles the JSON writer of an operation for one set of conditions; null when the operation selects `__schema` or `__type`. */
export function compileJsonWriter(operation: OperationDefinitionNode, inputs: CompletionInputs): JsonWriter | null {
  const root = inputs.schema.getRootType(operation.operation);
  return root && !inputs.introspection ? compileObject(root, [operation.selectionSet], inputs) : null;
}

/** Generates the code of one function for each set of fields: with constant names, V8 reads properties fast. */
function compileObject(
  type: GraphQLObjectType | GraphQLInterfaceType,
  selectionSets: readonly SelectionSetNode[],
  inputs: CompletionInputs,
): JsonWriter {
  const writers: WriteValue[] = [];
  const lines = collectFields(type, selectionSets, inputs).map((field, i) => {
    const start = JSON.stringify(`${i === 0 ? '{' : ','}${JSON.stringify(field.responseName)}:`);
    return compileField(type, field, start, writers, inputs);
  });
  const code = `return (data, quote) => { let text = '', value, written; ${lines.join('\n')} return ${lines.length === 0 ? "'{}'" : "text + '}'"}; }`;
  return new Function('writers', code)(writers) as JsonWriter;
}

function compileField(
  type: GraphQLObjectType | GraphQLInterfaceType,
  field: CollectedField,
  start: string,
  writers: WriteValue[],
  inputs: CompletionInputs,
): string {
  if (!field.type) {
    if (!isObjectType(type)) return 'return null;';
    return `text += ${start} + ${JSON.stringify(JSON.stringify(type.name))};`;
  }
  const isRequired = isNonNullType(field.type);
  const valueType = isNonNullType(field.type) ? field.type.ofType : field.type;
  const read = `value = data[${JSON.stringify(field.dataKey)}];`;
  const whenNull = `if (value === null || value === undefined) ${isRequired ? 'return null;' : `text += ${start} + 'null';`}`;
  const scalar = isLeafType(valueType) ? SCALAR_CODE[valueType.name] : undefined;
  if (scalar)
    return `${read} if (${scalar.isValid}) text += ${start} + ${scalar.text}; else ${whenNull} else return null;`;
  const writer = writers.push(compileValue(valueType, field.selectionSets, inputs)) - 1;
  return `${read} ${whenNull} else {
    written = writers[${writer}](value, quote);
    if (written === null) return null;
    text += ${start} + written;
  }`;
}

/** The built-in scalars: code that checks and code that writes a value. */
const SCALAR_CODE: Readonly<Record<string, { isValid: string; text: string }>> = {
  ID: { isValid: "typeof value === 'string'", text: 'quote(value)' },
  String: { isValid: "typeof value === 'string'", text: 'quote(value)' },
  Int: { isValid: "typeof value === 'number' && value === (value | 0)", text: 'value' },
  Float: { isValid: "typeof value === 'number' && value - value === 0", text: 'value' },
  Boolean: { isValid: "typeof value === 'boolean'", text: 'value' },
};

function compileValue(
  type: GraphQLOutputType,
  selectionSets: readonly SelectionSetNode[],
  inputs: CompletionInputs,
): WriteValue {
  if (isListType(type)) {
    const isRequired = isNonNullType(type.ofType);
    const writeElement = compileValue(
      isNonNullType(type.ofType) ? type.ofType.ofType : type.ofType,
      selectionSets,
      inputs,
    );
    return (list, quote) => {
      if (!Array.isArray(list)) return null;
      let text = '[';
      for (let i = 0; i < list.length; i++) {
        const value = list[i];
        if (i > 0) text += ',';
        if (value === null || value === undefined) {
          if (isRequired) return null;
          text += 'null';
          continue;
        }
        const written = writeElement(value, quote);
        if (written === null) return null;
        text += written;
      }
      return `${text}]`;
    };
  }
  if (isLeafType(type)) return compileLeaf(type);
  return compileComposite(type as GraphQLCompositeType, selectionSets, inputs);
}

function compileLeaf(type: GraphQLLeafType): WriteValue {
  if (isEnumType(type)) {
    const values = new Map(type.getValues().map(({ name }) => [name, `"${name}"`]));
    return (value) => (typeof value === 'string' && values.get(value)) || null;
  }
  const scalar = SCALAR_CODE[type.name];
  if (!scalar) return (value) => (typeof value === 'string' || isJson(value) ? textOf(value) : null);
  return new Function(`return (value, quote) => ${scalar.isValid} ? '' + ${scalar.text} : null`)() as WriteValue;
}

function compileComposite(
  type: GraphQLCompositeType,
  selectionSets: readonly SelectionSetNode[],
  inputs: CompletionInputs,
): WriteValue {
  if (isObjectType(type)) {
    const { name } = type;
    const isRoot = isRootType(type, inputs.schema);
    const write = compileObject(type, selectionSets, inputs);
    return (value, quote) => {
      if (!isObject(value)) return null;
      const typeName = value.__typename;
      return typeName === undefined || typeName === name || isRoot ? write(value, quote) : null;
    };
  }
  const byType = new Map<string, JsonWriter>();
  return (value, quote) => {
    const typeName = isObject(value) ? (value.__typename ?? type.name) : undefined;
    if (typeof typeName !== 'string') return null;
    let write = byType.get(typeName);
    if (!write) {
      const runtime = inputs.schema.getType(typeName);
      if (!isObjectType(runtime) && !(isInterfaceType(runtime) && runtime === type)) return null;
      if (!isAllowedType(inputs.schema, type, runtime)) return null;
      write = compileObject(runtime, selectionSets, inputs);
      byType.set(typeName, write);
    }
    return write(value as JsonObject, quote);
  };
}

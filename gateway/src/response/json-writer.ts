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
import { fits, isRootType, type SelectedField, type ShapeParts, selectedFields } from './collect-fields.js';

/**
 * Writes what the client asked for as JSON, straight from what the subgraphs gave; null as soon as anything is not as the schema
 * has it (a null that must not be, a value of another type), which is for the response shape to say.
 */
export type Write = (data: JsonObject, quote: Quote) => string | null;

type WriteValue = (value: Json, quote: Quote) => string | null;

/** Compiles an operation's writer, for the values that its @skip and @include have; null when it asks for the schema itself. */
export function compileWriter(operation: OperationDefinitionNode, parts: ShapeParts): Write | null {
  const root = parts.schema.getRootType(operation.operation);
  return root && !parts.introspection ? compileObject(root, [operation.selectionSet], parts) : null;
}

/** One function for each set of fields, generated: the engine of JavaScript then knows each name, and reads it fast. */
function compileObject(
  type: GraphQLObjectType | GraphQLInterfaceType,
  selectionSets: readonly SelectionSetNode[],
  parts: ShapeParts,
): Write {
  const writers: WriteValue[] = [];
  const lines = selectedFields(type, selectionSets, parts).map((field, i) => {
    const start = JSON.stringify(`${i === 0 ? '{' : ','}${JSON.stringify(field.responseName)}:`);
    return compileField(type, field, start, writers, parts);
  });
  const code = `return (data, quote) => { let text = '', value, written; ${lines.join('\n')} return ${lines.length === 0 ? "'{}'" : "text + '}'"}; }`;
  return new Function('writers', code)(writers) as Write;
}

function compileField(
  type: GraphQLObjectType | GraphQLInterfaceType,
  field: SelectedField,
  start: string,
  writers: WriteValue[],
  parts: ShapeParts,
): string {
  if (!field.type) {
    if (!isObjectType(type)) return 'return null;';
    return `text += ${start} + ${JSON.stringify(JSON.stringify(type.name))};`;
  }
  const isRequired = isNonNullType(field.type);
  const valueType = isNonNullType(field.type) ? field.type.ofType : field.type;
  const read = `value = data[${JSON.stringify(field.from)}];`;
  const whenNull = `if (value === null || value === undefined) ${isRequired ? 'return null;' : `text += ${start} + 'null';`}`;
  const plain = isLeafType(valueType) ? PLAIN[valueType.name] : undefined;
  if (plain) return `${read} if (${plain.fits}) text += ${start} + ${plain.text}; else ${whenNull} else return null;`;
  const writer = writers.push(compileValue(valueType, field.selectionSets, parts)) - 1;
  return `${read} ${whenNull} else {
    written = writers[${writer}](value, quote);
    if (written === null) return null;
    text += ${start} + written;
  }`;
}

/** The scalars of GraphQL itself, as code. */
const PLAIN: Readonly<Record<string, { fits: string; text: string }>> = {
  ID: { fits: "typeof value === 'string'", text: 'quote(value)' },
  String: { fits: "typeof value === 'string'", text: 'quote(value)' },
  Int: { fits: "typeof value === 'number' && value === (value | 0)", text: 'value' },
  Float: { fits: "typeof value === 'number' && value - value === 0", text: 'value' },
  Boolean: { fits: "typeof value === 'boolean'", text: 'value' },
};

function compileValue(
  type: GraphQLOutputType,
  selectionSets: readonly SelectionSetNode[],
  parts: ShapeParts,
): WriteValue {
  if (isListType(type)) {
    const isRequired = isNonNullType(type.ofType);
    const write = compileValue(isNonNullType(type.ofType) ? type.ofType.ofType : type.ofType, selectionSets, parts);
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
        const written = write(value, quote);
        if (written === null) return null;
        text += written;
      }
      return `${text}]`;
    };
  }
  if (isLeafType(type)) return compileLeaf(type);
  return compileComposite(type as GraphQLCompositeType, selectionSets, parts);
}

function compileLeaf(type: GraphQLLeafType): WriteValue {
  if (isEnumType(type)) {
    const known = new Map(type.getValues().map(({ name }) => [name, `"${name}"`]));
    return (value) => (typeof value === 'string' && known.get(value)) || null;
  }
  const plain = PLAIN[type.name];
  if (!plain) return (value) => (typeof value === 'string' || isJson(value) ? textOf(value) : null);
  return new Function(`return (value, quote) => ${plain.fits} ? '' + ${plain.text} : null`)() as WriteValue;
}

function compileComposite(
  type: GraphQLCompositeType,
  selectionSets: readonly SelectionSetNode[],
  parts: ShapeParts,
): WriteValue {
  if (isObjectType(type)) {
    const { name } = type;
    const isRoot = isRootType(type, parts.schema);
    const write = compileObject(type, selectionSets, parts);
    return (value, quote) => {
      if (!isObject(value)) return null;
      const given = value.__typename;
      return given === undefined || given === name || isRoot ? write(value, quote) : null;
    };
  }
  const byType = new Map<string, Write>();
  return (value, quote) => {
    const typeName = isObject(value) ? (value.__typename ?? type.name) : undefined;
    if (typeof typeName !== 'string') return null;
    let write = byType.get(typeName);
    if (!write) {
      const runtime = parts.schema.getType(typeName);
      if (!isObjectType(runtime) && !(isInterfaceType(runtime) && runtime === type)) return null;
      if (!fits(parts.schema, type, runtime)) return null;
      write = compileObject(runtime, selectionSets, parts);
      byType.set(typeName, write);
    }
    return write(value as JsonObject, quote);
  };
}

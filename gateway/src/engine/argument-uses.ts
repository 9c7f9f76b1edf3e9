import {
  type ArgumentNode,
  type DocumentNode,
  type FieldNode,
  Kind,
  type OperationDefinitionNode,
  parse,
  type ValueNode,
  visit,
} from 'graphql';
import type { SubgraphOperation } from './composed-operation.js';
import type { ArgumentUse } from './response-errors.js';
import type { Path, SubgraphError } from './types.js';

/** How servers name a variable in a message: `Variable "$v0"`, `variable 'v0'`, `$v0`. */
const VARIABLE = /\$(v\d+)\b|\b[Vv]ariable ["'`](v\d+)["'`]/;
/** The part of a variable's value that is wrong: `at "v0.lines[1].price"`. */
const PART = /\bat "v\d+((?:\.\w+|\[\d+\])+)"/;

/**
 * The arguments in an operation of a plan whose value a subgraph's error is about: those with the variable that the message names, or
 * the one at the error's location. Parses the operation, so it is for errors only.
 */
export function argumentUses(
  { text }: SubgraphOperation,
  { message = '', path, locations = [] }: SubgraphError,
): readonly ArgumentUse[] {
  const [location] = locations;
  const mentioned = VARIABLE.exec(message);
  // gqlgen: ["variable", "v0", "price"].
  const [kind, inPath, ...rest] = path ?? [];
  const named = mentioned?.[1] ?? mentioned?.[2] ?? (kind === 'variable' ? String(inPath) : undefined);
  if (named === undefined && !location) return [];
  const document = parse(text);
  const offset = location ? offsetOf(text, location) : -1;
  const variable = named ?? variableDefinedAt(document, offset);
  const part = kind === 'variable' ? rest : partOf(PART.exec(message)?.[1] ?? '');

  const uses: ArgumentUse[] = [];
  const fields: FieldNode[] = [];
  visit(document, {
    Field: { enter: (field) => void fields.push(field), leave: () => void fields.pop() },
    Argument: (argument) => {
      const found = variable === undefined ? valueAt(argument, offset) : variableIn(argument.value, variable);
      if (!found) return;
      uses.push({
        fields: fields.filter(({ name }) => name.value !== '_entities').map(({ alias, name }) => (alias ?? name).value),
        argument: argument.name.value,
        within: variable === undefined ? found : [...found, ...part],
      });
    },
  });
  return uses.filter((use) => use.fields.length > 0);
}

function partOf(text: string): Path {
  return [...text.matchAll(/\.(\w+)|\[(\d+)\]/g)].map(([, name, index]) => name ?? Number(index));
}

function offsetOf(text: string, { line, column }: { readonly line: number; readonly column: number }): number {
  const before = text.split(/\r\n|\n|\r/).slice(0, line - 1);
  return before.reduce((sum, each) => sum + each.length + 1, column - 1);
}

/** The variable whose definition, with its default value, is at an offset of the text. */
function variableDefinedAt({ definitions }: DocumentNode, offset: number): string | undefined {
  const [operation] = definitions as [OperationDefinitionNode];
  return operation.variableDefinitions?.find(({ loc }) => loc && loc.start <= offset && offset < loc.end)?.variable.name
    .value;
}

/** Where in a value a variable is; null when it is not. */
function variableIn(value: ValueNode, name: string): Path | null {
  if (value.kind === Kind.VARIABLE) return value.name.value === name ? [] : null;
  return inParts(value, (part) => variableIn(part, name));
}

/** The innermost part of an argument's value at an offset of the text; null when the offset is elsewhere. */
function valueAt({ value }: ArgumentNode, offset: number): Path | null {
  const at = (part: ValueNode): Path | null => {
    const { start = 0, end = 0 } = part.loc ?? {};
    return offset < start || offset >= end ? null : (inParts(part, at) ?? []);
  };
  return at(value);
}

function inParts(value: ValueNode, find: (part: ValueNode) => Path | null): Path | null {
  const parts: (readonly [string | number, ValueNode])[] =
    value.kind === Kind.LIST
      ? value.values.map((part, i) => [i, part])
      : value.kind === Kind.OBJECT
        ? value.fields.map((field) => [field.name.value, field.value])
        : [];
  for (const [key, part] of parts) {
    const found = find(part);
    if (found) return [key, ...found];
  }
  return null;
}

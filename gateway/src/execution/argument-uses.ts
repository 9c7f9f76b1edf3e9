import {
  type ArgumentNode,
  type ASTNode,
  type FieldNode,
  Kind,
  type OperationDefinitionNode,
  parse,
  type ValueNode,
  visit,
} from 'graphql';
import type { ArgumentUse } from '../lib/error-list.js';
import type { Path } from '../lib/json.js';
import { SourceLines } from '../operation/index.js';
import type { SubgraphError } from '../subgraph/index.js';
import type { SubgraphOperation } from './subgraph-operation.js';

/** The forms in which servers name a variable in a message: `Variable "$v0"`, `variable 'v0'`, `$v0`. */
const VARIABLE = /\$(v\d+)\b|\b[Vv]ariable ["'`](v\d+)["'`]/;
/** The part of a variable's value that is wrong: `at "v0.lines[1].price"`. */
const PART = /\bat "v\d+((?:\.\w+|\[\d+\])+)"/;

/** An argument in an operation of a plan. */
interface OperationArgument {
  /** The response names of the fields from the start of the fetch. */
  readonly fields: readonly string[];
  readonly node: ArgumentNode;
}

interface ParsedOperation {
  readonly lines: SourceLines;
  readonly variables: NonNullable<OperationDefinitionNode['variableDefinitions']>;
  readonly args: readonly OperationArgument[];
}

/**
 * Finds the arguments in an operation of a plan whose values a subgraph's error is about: those with the variable that the message names,
 * or the one at the error's location. The operation is parsed once, at the first error that needs it.
 */
export function argumentFinder({ text }: SubgraphOperation): (error: SubgraphError) => readonly ArgumentUse[] {
  let operation: ParsedOperation | undefined;
  return (error) =>
    argumentUses(error, () => {
      operation ??= parseOperation(text);
      return operation;
    });
}

function argumentUses(
  { message = '', path, locations = [] }: SubgraphError,
  operation: () => ParsedOperation,
): readonly ArgumentUse[] {
  const [location] = locations;
  const mentioned = VARIABLE.exec(message);
  // gqlgen: ["variable", "v0", "price"].
  const [kind, inPath, ...rest] = path ?? [];
  const named = mentioned?.[1] ?? mentioned?.[2] ?? (kind === 'variable' ? String(inPath) : undefined);
  if (named === undefined && !location) return [];
  const { lines, variables, args } = operation();
  const offset = location ? lines.offsetOf(location) : -1;
  const isAtOffset = ({ loc }: ASTNode) => loc !== undefined && loc.start <= offset && offset < loc.end;
  // The error may also be at the variable's definition, with its default value.
  const variable = named ?? variables.find(isAtOffset)?.variable.name.value;
  const part = kind === 'variable' ? rest : partOf(PART.exec(message)?.[1] ?? '');
  return args.flatMap(({ fields, node: { name, value } }) => {
    const found = variable === undefined ? valueAt(value, isAtOffset) : variableIn(value, variable);
    if (!found) return [];
    return [{ fields, argument: name.value, within: variable === undefined ? found : [...found, ...part] }];
  });
}

function parseOperation(text: string): ParsedOperation {
  const document = parse(text);
  const [{ variableDefinitions = [] }] = document.definitions as [OperationDefinitionNode];
  const args: OperationArgument[] = [];
  const fields: FieldNode[] = [];
  visit(document, {
    Field: { enter: (field) => void fields.push(field), leave: () => void fields.pop() },
    Argument(node) {
      const own = fields.filter(({ name }) => name.value !== '_entities');
      if (own.length > 0) args.push({ fields: own.map(({ alias, name }) => (alias ?? name).value), node });
    },
  });
  return { lines: new SourceLines(text), variables: variableDefinitions, args };
}

function partOf(text: string): Path {
  return [...text.matchAll(/\.(\w+)|\[(\d+)\]/g)].map(([, name, index]) => name ?? Number(index));
}

/** The path of a variable in a value; null when it is not there. */
function variableIn(value: ValueNode, name: string): Path | null {
  if (value.kind === Kind.VARIABLE) return value.name.value === name ? [] : null;
  return inParts(value, (part) => variableIn(part, name));
}

/** The path of the innermost part of a value at the offset; null when there is none. */
function valueAt(value: ValueNode, isAtOffset: (node: ASTNode) => boolean): Path | null {
  return isAtOffset(value) ? (inParts(value, (part) => valueAt(part, isAtOffset)) ?? []) : null;
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

import { type ASTNode, type FieldNode, Kind, print, visit } from 'graphql';
import type { Operation } from '../operation/index.js';

/**
 * Writes an operation as a document that may leave the process: without the client's name for it, and with variables in place of the
 * values in fields' arguments, which may be personal data. It has the same plan.
 *
 * @returns null when such a value remains, as in an input object that contains a variable
 */
export function storableText({ document, responseNames }: Operation): string | null {
  let hasValues = false;
  const written = visit(document, {
    Field(field) {
      hasValues ||= field.arguments?.some(({ value }) => containsValue(value)) ?? false;
      return withClientName(field, responseNames);
    },
  });
  return hasValues ? null : print(written);
}

function containsValue(node: ASTNode): boolean {
  let found = false;
  const value = () => {
    found = true;
  };
  visit(node, { StringValue: value, IntValue: value, FloatValue: value });
  return found;
}

/** Undoes what `rename-conflicts.ts` does. */
function withClientName(field: FieldNode, responseNames: Operation['responseNames']): FieldNode | undefined {
  const name = field.alias && responseNames.get(field.alias.value);
  if (!name) return undefined;
  const { alias: _, ...plain } = field;
  return name === field.name.value ? plain : { ...plain, alias: { kind: Kind.NAME, value: name } };
}

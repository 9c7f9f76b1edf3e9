import { type DocumentNode, type FieldNode, Kind, print, visit } from 'graphql';
import type { RequiredFields } from './required-fields.js';

/** A document whose response names do not conflict in a plan. */
export interface RenamedDocument {
  readonly document: DocumentNode;
  /** The client's response names of the renamed fields, by the new name; null for a former name under which the client's fields are no more. */
  readonly responseNames: ReadonlyMap<string, string | null>;
}

/**
 * Renames the fields of an operation that could conflict in a plan, which selects more than the client does and merges all data of a path
 * into one object:
 * - fields that share a response name, but differ in name or arguments (on different types);
 * - an alias that is also the name of a field of the supergraph, such as a key;
 * - a field that subgraphs require, if the client may select it with other arguments.
 *
 * @param fieldNames the names of all fields of the supergraph
 * @param required the fields with arguments that a `@requires` or a context selects
 */
export function renameConflicts(
  document: DocumentNode,
  fieldNames: ReadonlySet<string>,
  required: RequiredFields,
): RenamedDocument {
  const meanings = new Map<string, Set<string>>();
  visit(document, {
    Field(field) {
      const name = responseName(field);
      const found = meanings.get(name);
      if (found) found.add(meaningOf(field));
      else meanings.set(name, new Set([meaningOf(field)]));
    },
  });

  const renamed = new Map<string, string>();
  const responseNames = new Map<string, string | null>();
  for (const [name, found] of meanings) {
    for (const meaning of found) {
      const isPlain = meaning === name;
      const hasArguments = meaning.startsWith(`${name}(`);
      const conflicts =
        (found.size > 1 && !isPlain) ||
        (!isPlain && !hasArguments && (fieldNames.has(name) || name === '__typename')) ||
        (hasArguments && required.names.has(name)) ||
        (isPlain && required.withArguments.has(name));
      if (!conflicts) continue;
      const internal = freshName(
        name,
        (candidate) => fieldNames.has(candidate) || meanings.has(candidate) || responseNames.has(candidate),
      );
      renamed.set(`${name} ${meaning}`, internal);
      responseNames.set(internal, name);
    }
    if ([...found].every((meaning) => renamed.has(`${name} ${meaning}`))) responseNames.set(name, null);
  }
  if (renamed.size === 0) return { document, responseNames };
  return {
    document: visit(document, {
      Field(field) {
        const value = renamed.get(`${responseName(field)} ${meaningOf(field)}`);
        return value === undefined ? undefined : { ...field, alias: { kind: Kind.NAME as const, value } };
      },
    }),
    responseNames,
  };
}

function responseName({ alias, name }: FieldNode): string {
  return (alias ?? name).value;
}

/** The field and its arguments. */
function meaningOf({ name, arguments: list = [] }: FieldNode): string {
  if (list.length === 0) return name.value;
  return `${name.value}(${list.map(print).sort().join(', ')})`;
}

function freshName(name: string, isTaken: (name: string) => boolean): string {
  for (let i = 1; ; i++) {
    const candidate = `${name.replace(/^_+/, '')}_${i}`;
    if (!isTaken(candidate)) return candidate;
  }
}

import { type DocumentNode, type FieldNode, Kind, print, visit } from 'graphql';
import type { RequiredFields } from './required-fields.js';

/** A document whose fields have names under which they do not collide, and what clients call them. */
export interface NamedDocument {
  readonly document: DocumentNode;
  /** The client's names of those fields that are asked for under others; null for a name under which nothing of the client's is asked for any more. */
  readonly responseNames: ReadonlyMap<string, string | null>;
}

/**
 * Renames the fields of an operation that could collide in a plan, which asks for more than the client does and keeps everything of
 * a path in one object. They are: what one response name stands for where it stands for several things (of different types); an alias
 * that is the name of a field (a key, say); and a field that subgraphs require, when the client may ask for it with other arguments.
 *
 * @param fieldNames the names of all fields of the supergraph
 * @param required the fields with arguments that a `@requires` or a context asks for
 */
export function nameFields(
  document: DocumentNode,
  fieldNames: ReadonlySet<string>,
  required: RequiredFields,
): NamedDocument {
  const meanings = new Map<string, Set<string>>();
  visit(document, {
    Field(field) {
      const name = responseName(field);
      const known = meanings.get(name);
      if (known) known.add(meaningOf(field));
      else meanings.set(name, new Set([meaningOf(field)]));
    },
  });

  const renamed = new Map<string, string>();
  const responseNames = new Map<string, string | null>();
  for (const [name, known] of meanings) {
    for (const meaning of known) {
      const isPlain = meaning === name;
      const hasArguments = meaning.startsWith(`${name}(`);
      const hazardous =
        (known.size > 1 && !isPlain) ||
        (!isPlain && !hasArguments && (fieldNames.has(name) || name === '__typename')) ||
        (hasArguments && required.names.has(name)) ||
        (isPlain && required.given.has(name));
      if (!hazardous) continue;
      const internal = freshName(
        name,
        (candidate) => fieldNames.has(candidate) || meanings.has(candidate) || responseNames.has(candidate),
      );
      renamed.set(`${name} ${meaning}`, internal);
      responseNames.set(internal, name);
    }
    if ([...known].every((meaning) => renamed.has(`${name} ${meaning}`))) responseNames.set(name, null);
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
function meaningOf({ name, arguments: given = [] }: FieldNode): string {
  if (given.length === 0) return name.value;
  return `${name.value}(${given.map(print).sort().join(', ')})`;
}

function freshName(name: string, isTaken: (name: string) => boolean): string {
  for (let i = 1; ; i++) {
    const candidate = `${name.replace(/^_+/, '')}_${i}`;
    if (!isTaken(candidate)) return candidate;
  }
}

import {
  type GraphQLNamedType,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isSpecifiedScalarType,
  isUnionType,
} from 'graphql';

/** The most that is named of each kind; a log line has a length. */
const MAX_NAMED = 20;

/**
 * What a supergraph has that the one before had not, and the reverse: types, and of the types that both have `Type.field`,
 * `Type.field(argument:)`, `Enum.VALUE` and members of unions, as `Union.Member`. `changed`: what has another type now.
 */
export interface SchemaChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

export function schemaChanges(before: GraphQLSchema, after: GraphQLSchema): SchemaChanges {
  const [added, removed, changed]: [string[], string[], string[]] = [[], [], []];
  const earlier = namedTypes(before);
  const later = namedTypes(after);
  for (const name of earlier.keys()) if (!later.has(name)) removed.push(name);
  for (const [name, type] of later) {
    const other = earlier.get(name);
    if (!other) {
      added.push(name);
      continue;
    }
    const [past, present] = [partsOf(other), partsOf(type)];
    for (const part of past.keys()) if (isMissing(part, present)) removed.push(`${name}.${part}`);
    for (const [part, ofType] of present) {
      const pastType = past.get(part);
      if (isMissing(part, past)) added.push(`${name}.${part}`);
      else if (pastType !== undefined && pastType !== ofType) changed.push(`${name}.${part}: ${pastType} → ${ofType}`);
    }
  }
  return { added: bounded(added), removed: bounded(removed), changed: bounded(changed) };
}

function namedTypes(schema: GraphQLSchema): Map<string, GraphQLNamedType> {
  return new Map(
    Object.entries(schema.getTypeMap()).filter(
      ([, type]) => !isIntrospectionType(type) && !isSpecifiedScalarType(type),
    ),
  );
}

/** Whether others lack a part; of a field that they lack, the arguments need no mention. */
function isMissing(part: string, others: ReadonlyMap<string, string>): boolean {
  if (others.has(part)) return false;
  const [field = part, argument] = part.split('(');
  return argument === undefined || others.has(field);
}

/** What a type consists of, with the type of each part, as text. */
function partsOf(type: GraphQLNamedType): Map<string, string> {
  const parts = new Map<string, string>();
  if (isEnumType(type)) for (const { name } of type.getValues()) parts.set(name, '');
  if (isUnionType(type)) for (const { name } of type.getTypes()) parts.set(name, '');
  if (isObjectType(type) || isInterfaceType(type) || isInputObjectType(type)) {
    for (const field of Object.values(type.getFields())) {
      parts.set(field.name, String(field.type));
      if (!('args' in field)) continue;
      for (const argument of field.args) parts.set(`${field.name}(${argument.name}:)`, String(argument.type));
    }
  }
  return parts;
}

function bounded(names: readonly string[]): readonly string[] {
  const sorted = names.toSorted();
  const more = sorted.length - MAX_NAMED;
  return more > 0 ? [...sorted.slice(0, MAX_NAMED), `${more} more`] : sorted;
}

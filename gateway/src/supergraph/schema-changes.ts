import {
  type GraphQLArgument,
  type GraphQLInputField,
  type GraphQLSchema,
  isEnumType,
  isInputObjectType,
  isInterfaceType,
  isIntrospectionType,
  isObjectType,
  isSpecifiedScalarType,
  isUnionType,
  print,
} from 'graphql';

/** Most names of each kind: log lines must stay short. */
const MAX_NAMED = 20;

/**
 * The differences between two supergraphs. `added` and `removed`: types, directives and, of types that both have, `Type.field`,
 * `Type.field(argument:)`, `Enum.VALUE`, `Union.Member`, `Type implements Interface`. `changed`: parts with another type, kind, default or location.
 */
export interface SchemaChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
  readonly changed: readonly string[];
}

/** Compares the schemas that clients see before and after a reload, for the log. */
export function schemaChanges(before: GraphQLSchema, after: GraphQLSchema): SchemaChanges {
  const [past, present] = [partsOf(before), partsOf(after)];
  const changed = [...present].flatMap(([name, { text }]) => {
    const earlier = past.get(name)?.text ?? text;
    return earlier === text ? [] : [`${name}: ${earlier} → ${text}`];
  });
  return {
    added: bounded(missing(present, past)),
    removed: bounded(missing(past, present)),
    changed: bounded(changed),
  };
}

/** A part of a schema, such as `Type.field`. */
interface Part {
  /** What it is: a field's type, the kind of a type. */
  readonly text: string;
  /** The part that it belongs to; null for types and directives. */
  readonly owner: string | null;
}

/** The names of parts that the others lack, without the parts of a part that they lack. */
function missing(parts: ReadonlyMap<string, Part>, others: ReadonlyMap<string, Part>): string[] {
  return [...parts].flatMap(([name, { owner }]) =>
    others.has(name) || (owner !== null && !others.has(owner)) ? [] : [name],
  );
}

/** All parts of a schema, by name. */
function partsOf(schema: GraphQLSchema): Map<string, Part> {
  const parts = new Map<string, Part>();
  const add = (name: string, owner: string | null, text = '') => parts.set(name, { text, owner });
  for (const { name, locations, args } of schema.getDirectives()) {
    add(`@${name}`, null, locations.join(' | '));
    for (const argument of args) add(`@${name}(${argument.name}:)`, `@${name}`, typeOf(argument));
  }
  for (const type of Object.values(schema.getTypeMap())) {
    if (isIntrospectionType(type) || isSpecifiedScalarType(type)) continue;
    const { name } = type;
    // `Object`, `Interface`, `InputObject`, …
    add(name, null, type[Symbol.toStringTag].replace(/^GraphQL|Type$/g, ''));
    if (isEnumType(type)) for (const value of type.getValues()) add(`${name}.${value.name}`, name);
    if (isUnionType(type)) for (const member of type.getTypes()) add(`${name}.${member.name}`, name);
    if (isInputObjectType(type))
      for (const field of Object.values(type.getFields())) add(`${name}.${field.name}`, name, typeOf(field));
    if (!isObjectType(type) && !isInterfaceType(type)) continue;
    for (const each of type.getInterfaces()) add(`${name} implements ${each.name}`, name);
    for (const field of Object.values(type.getFields())) {
      const ofField = `${name}.${field.name}`;
      add(ofField, name, String(field.type));
      for (const argument of field.args) add(`${ofField}(${argument.name}:)`, ofField, typeOf(argument));
    }
  }
  return parts;
}

/** The type of an argument or input field, with its default. */
function typeOf({ type, astNode }: GraphQLArgument | GraphQLInputField): string {
  return astNode?.defaultValue ? `${type} = ${print(astNode.defaultValue)}` : String(type);
}

function bounded(names: readonly string[]): readonly string[] {
  const sorted = names.toSorted();
  const more = sorted.length - MAX_NAMED;
  return more > 0 ? [...sorted.slice(0, MAX_NAMED), `${more} more`] : sorted;
}

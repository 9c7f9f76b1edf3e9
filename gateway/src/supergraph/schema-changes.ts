import { type GraphQLSchema, isInputObjectType, isInterfaceType, isIntrospectionType, isObjectType } from 'graphql';

/** The most that is named of each kind; a log line has a length. */
const MAX_NAMED = 20;

/** What a supergraph has that the one before had not, and the reverse: types, and `Type.field` of those that both have. */
export interface SchemaChanges {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

export function schemaChanges(before: GraphQLSchema, after: GraphQLSchema): SchemaChanges {
  return { added: namesOnlyIn(after, before), removed: namesOnlyIn(before, after) };
}

function namesOnlyIn(schema: GraphQLSchema, other: GraphQLSchema): string[] {
  const names: string[] = [];
  for (const [typeName, type] of Object.entries(schema.getTypeMap())) {
    if (isIntrospectionType(type)) continue;
    const otherType = other.getType(typeName);
    if (!otherType) names.push(typeName);
    else if (hasFields(type) && hasFields(otherType)) {
      const otherFields = otherType.getFields();
      for (const fieldName of Object.keys(type.getFields())) {
        if (!otherFields[fieldName]) names.push(`${typeName}.${fieldName}`);
      }
    }
  }
  const more = names.length - MAX_NAMED;
  return more > 0 ? [...names.slice(0, MAX_NAMED), `${more} more`] : names;
}

function hasFields(type: unknown) {
  return isObjectType(type) || isInterfaceType(type) || isInputObjectType(type);
}

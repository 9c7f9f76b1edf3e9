import {
  DirectiveLocation,
  GraphQLBoolean,
  GraphQLDirective,
  GraphQLError,
  GraphQLNonNull,
  GraphQLSchema,
  GraphQLString,
  Kind,
  type OperationDefinitionNode,
  print,
} from 'graphql';
import { parseStaleness } from '../consistency/index.js';

/** The longest part of a value that an error message quotes, in characters. */
const MAX_QUOTED = 60;

const DEFER = new GraphQLDirective({
  name: 'defer',
  description:
    'Accepted on fragments that may be delivered later; the gateway delivers them with the rest of the response.',
  locations: [DirectiveLocation.FRAGMENT_SPREAD, DirectiveLocation.INLINE_FRAGMENT],
  args: { if: { type: new GraphQLNonNull(GraphQLBoolean), defaultValue: true }, label: { type: GraphQLString } },
});

const MAX_STALENESS = new GraphQLDirective({
  name: 'maxStaleness',
  description:
    'The maximum staleness of the response, such as "500ms"; "0" bypasses the cache and reads from the owning services only.',
  locations: [DirectiveLocation.QUERY],
  args: { of: { type: new GraphQLNonNull(GraphQLString) } },
});

/** Adds the gateway's own directives to a schema, unless the schema defines them: `@defer` and `@maxStaleness`. */
export function withDirectives(schema: GraphQLSchema): GraphQLSchema {
  const added = [DEFER, MAX_STALENESS].filter(({ name }) => !schema.getDirective(name));
  return new GraphQLSchema({ ...schema.toConfig(), directives: [...schema.getDirectives(), ...added] });
}

/**
 * Reads the staleness bound of an operation's `@maxStaleness`.
 *
 * @returns milliseconds; infinite without the directive
 * @throws GraphQLError BAD_USER_INPUT when the argument is not a literal duration
 */
export function maxStalenessOf({ directives = [] }: OperationDefinitionNode): number {
  const value = directives.find(({ name }) => name.value === MAX_STALENESS.name)?.arguments?.[0]?.value;
  if (!value) return Number.POSITIVE_INFINITY;
  try {
    if (value.kind === Kind.STRING) return parseStaleness(value.value);
  } catch {
    // Its message names the header `x-max-staleness`, not this argument.
  }
  const message = `@maxStaleness(of:) must be a literal duration such as "500ms", "2s" or "0"; got ${print(value).slice(0, MAX_QUOTED)}.`;
  const extensions = { code: 'BAD_USER_INPUT', field: '@maxStaleness.of' } as const;
  throw new GraphQLError(message, { nodes: value, extensions });
}

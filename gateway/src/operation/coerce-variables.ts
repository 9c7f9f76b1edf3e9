import { withCode } from '@tributary/server';
import { type GraphQLError, type GraphQLSchema, getVariableValues } from 'graphql';
import type { ClientDocument } from './document-cache.js';

const MAX_ERRORS = 20;

/** The variables of a request, by their normalized names. */
export interface NormalizedVariables {
  /** As the schema has them: defaults filled in. */
  readonly coerced: Readonly<Record<string, unknown>>;
  /** As subgraphs are sent them: what the client gave, the operation's defaults where it gave nothing, and its literals. */
  readonly sent: Readonly<Record<string, unknown>>;
}

/** Reads a client's variables by its own declarations, so that errors speak of its names. */
export function readVariables(
  schema: GraphQLSchema,
  { variableDefinitions, variableNames, literals }: ClientDocument,
  given: Readonly<Record<string, unknown>>,
): NormalizedVariables | { readonly errors: readonly GraphQLError[] } {
  if (variableDefinitions.length === 0) return { coerced: {}, sent: literals };
  const { coerced: values, errors } = getVariableValues(schema, variableDefinitions, given, { maxErrors: MAX_ERRORS });
  if (errors) return { errors: errors.map((error) => withCode(error, 'BAD_USER_INPUT')) };
  const coerced: Record<string, unknown> = {};
  const sent: Record<string, unknown> = { ...literals };
  for (const [name, normalized] of variableNames) {
    if (!Object.hasOwn(values, name)) continue;
    coerced[normalized] = values[name];
    sent[normalized] = Object.hasOwn(given, name) && given[name] !== undefined ? given[name] : jsonOf(values[name]);
  }
  return { coerced, sent };
}

/** A default as JSON has it: a scalar may have made an object of it (a `Date`). */
function jsonOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? JSON.parse(JSON.stringify(value)) : value;
}

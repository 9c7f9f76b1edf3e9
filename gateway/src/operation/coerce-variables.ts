import { withCode } from '@tributary/server';
import { type GraphQLError, type GraphQLSchema, getVariableValues } from 'graphql';
import type { ClientDocument } from './operation.js';

const MAX_ERRORS = 20;

/** The variables of a request, by their normalized names. */
export interface NormalizedVariables {
  /** Coerced by the schema, with defaults. */
  readonly coerced: Readonly<Record<string, unknown>>;
  /** As subgraphs are sent them: the client's values, the operation's defaults in place of missing ones, and its literals. */
  readonly sent: Readonly<Record<string, unknown>>;
}

/** Coerces a client's variables by the client's declarations, so that errors use the client's names. */
export function coerceVariables(
  schema: GraphQLSchema,
  { variableDefinitions, variableNames, literals }: ClientDocument,
  clientVariables: Readonly<Record<string, unknown>>,
): NormalizedVariables | { readonly errors: readonly GraphQLError[] } {
  if (variableDefinitions.length === 0) return { coerced: {}, sent: literals };
  const { coerced: values, errors } = getVariableValues(schema, variableDefinitions, clientVariables, {
    maxErrors: MAX_ERRORS,
  });
  if (errors) return { errors: errors.map((error) => withCode(error, 'BAD_USER_INPUT')) };
  const coerced: Record<string, unknown> = {};
  const sent: Record<string, unknown> = { ...literals };
  for (const [name, normalized] of variableNames) {
    if (!Object.hasOwn(values, name)) continue;
    coerced[normalized] = values[name];
    sent[normalized] =
      Object.hasOwn(clientVariables, name) && clientVariables[name] !== undefined
        ? clientVariables[name]
        : jsonOf(values[name]);
  }
  return { coerced, sent };
}

/** Converts a default to JSON: a scalar may have parsed it to an object (a `Date`). */
function jsonOf(value: unknown): unknown {
  return typeof value === 'object' && value !== null ? JSON.parse(JSON.stringify(value)) : value;
}

/** Converts coerced variables from normalized names to the client's. */
export function byClientNames(
  { variableNames }: ClientDocument,
  variables: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const defined = [...variableNames].filter(([, normalized]) => Object.hasOwn(variables, normalized));
  return Object.fromEntries(defined.map(([name, normalized]) => [name, variables[normalized]] as const));
}

import { GraphQLError } from 'graphql';
import type { JsonObject } from './types.js';

/**
 * An error in the client's names. Of a field that the client did not ask for (a key, say, or another type's) it is told of the
 * object that has it.
 *
 * @param reword puts a message in the client's words
 */
export function within(
  data: JsonObject | null,
  error: GraphQLError,
  responseNames: ReadonlyMap<string, string | null>,
  reword: (message: string) => string,
): GraphQLError {
  const message = reword(error.message);
  if (!error.path) return new GraphQLError(message, { extensions: error.extensions });
  const path: (string | number)[] = [];
  let value: unknown = data;
  for (const internal of error.path) {
    const known = typeof internal === 'string' ? responseNames.get(internal) : undefined;
    // The client calls something else so, or nothing.
    if (known === null) break;
    const key = known ?? internal;
    if (value !== null && typeof value !== 'object') {
      // The client asked for something else by this name.
      path.pop();
      break;
    }
    if (value !== null) {
      if (!Object.hasOwn(value, key)) break;
      value = (value as Record<string | number, unknown>)[key];
    }
    path.push(key);
  }
  return new GraphQLError(message, { path, extensions: error.extensions });
}

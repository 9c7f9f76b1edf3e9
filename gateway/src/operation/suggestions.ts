import { errorAt } from '@tributary/server';
import type { GraphQLError } from 'graphql';

/** Suggestions as graphql-js appends them to a message: ` Did you mean "name" or "sku"?` */
const SUGGESTION = / Did you mean [^?]*\??/g;

/** Removes the names that a message suggests in place of the client's. */
export function withoutSuggestions(message: string): string {
  return message.replace(SUGGESTION, '');
}

/** Creates the same error without suggestions. */
export function errorWithoutSuggestions(error: GraphQLError): GraphQLError {
  if (!error.message.includes(' Did you mean ')) return error;
  const { message, locations, path, extensions } = error;
  return errorAt(withoutSuggestions(message), locations, { path, extensions });
}

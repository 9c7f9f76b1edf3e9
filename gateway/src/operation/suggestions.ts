import { errorAt } from '@tributary/server';
import type { GraphQLError } from 'graphql';

/** What graphql-js appends to a message: ` Did you mean "name" or "sku"?` */
const SUGGESTION = / Did you mean [^?]*\??/g;

/** A message without names that its author suggests in place of those that the client wrote. */
export function withoutSuggestions(message: string): string {
  return message.replace(SUGGESTION, '');
}

/** The same error without suggestions. */
export function errorWithoutSuggestions(error: GraphQLError): GraphQLError {
  if (!error.message.includes(' Did you mean ')) return error;
  const { message, locations, path, extensions } = error;
  return errorAt(withoutSuggestions(message), locations, { path, extensions });
}

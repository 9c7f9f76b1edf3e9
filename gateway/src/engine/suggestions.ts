import { GraphQLError } from 'graphql';

/** What graphql-js appends to a message: ` Did you mean "name" or "sku"?` */
const SUGGESTION = / Did you mean [^?]*\??/g;

/** The same error without names that its author suggests in place of those that the client wrote. */
export function withoutSuggestions(error: GraphQLError): GraphQLError {
  if (!error.message.includes(' Did you mean ')) return error;
  const { source, positions, path, extensions } = error;
  return new GraphQLError(error.message.replace(SUGGESTION, ''), { source, positions, path, extensions });
}

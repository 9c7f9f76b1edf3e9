import { withCode } from '@tributary/server';
import { BREAK, GraphQLError, GraphQLIncludeDirective, GraphQLSkipDirective, getDirectiveValues, visit } from 'graphql';
import type { ClientDocument } from '../operation/index.js';
import { parseClientOperation } from './client-operation.js';

/**
 * Finds the first `@skip` or `@include` of an operation whose condition is null, and creates its error with the location in the client's text.
 *
 * @param variables by the client's names
 * @returns null when no condition is null
 */
export function conditionError(
  query: string,
  clientDocument: ClientDocument,
  variables: Readonly<Record<string, unknown>>,
): GraphQLError | null {
  const { document } = parseClientOperation(query, clientDocument);
  let found: GraphQLError | null = null;
  visit(document, {
    enter(node) {
      try {
        for (const directive of [GraphQLSkipDirective, GraphQLIncludeDirective]) {
          if ('directives' in node) getDirectiveValues(directive, node, variables);
        }
      } catch (error) {
        if (!(error instanceof GraphQLError)) throw error;
        found = withCode(error, 'BAD_USER_INPUT');
        return BREAK;
      }
    },
  });
  return found;
}

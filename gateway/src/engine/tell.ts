import { GraphQLError } from 'graphql';

/** How many errors an answer lists at most. */
export const MAX_ERRORS = 1000;

/** Adds an error to an answer's; where there are too many, that is the last that is said. @returns whether it was added */
export function tell(errors: GraphQLError[], error: GraphQLError): boolean {
  if (errors.length > MAX_ERRORS) return false;
  if (errors.length < MAX_ERRORS) errors.push(error);
  else
    errors.push(
      new GraphQLError('There are more errors than are listed.', { extensions: { code: 'TOO_MANY_ERRORS' } }),
    );
  return true;
}

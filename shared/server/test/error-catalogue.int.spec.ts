import { GraphQLError } from 'graphql';
import { expect, test } from 'vitest';
import { uncatalogued } from '../../../test/harness/graphql-client.ts';
import { ApiError, badUserInput, conflict, withCode } from '../src/errors/errors.js';

// `npm run check` compiles this file: an error that is expected and does not come is an error, too.
test('a code or a reason that is not in the catalogue does not compile', () => {
  const errors = [
    // @ts-expect-error
    new ApiError('NO_SUCH_CODE', ''),
    // @ts-expect-error: a reason of BAD_USER_INPUT
    new ApiError('CONFLICT', '', { reason: 'PAGE_SIZE' }),
    // @ts-expect-error
    new GraphQLError('', { extensions: { code: 'NO_SUCH_CODE' } }),
    // @ts-expect-error
    new GraphQLError('', { extensions: { code: 'CONFLICT', reason: 'NO_SUCH_REASON' } }),
    // @ts-expect-error
    withCode(new GraphQLError(''), 'NO_SUCH_CODE'),
    // @ts-expect-error
    badUserInput('field', '', 'NO_SUCH_REASON'),
    // @ts-expect-error
    conflict('NO_SUCH_REASON', ''),
  ];
  expect(uncatalogued({ errors })).toHaveLength(errors.length);
  expect(uncatalogued({ errors: [badUserInput('first', '', 'PAGE_SIZE'), conflict('SKU_TAKEN', '')] })).toEqual([]);
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodeCursor, MAX_PAGE_SIZE, Page, pageRequest } from './connection.js';

const ORDER = 'things:name';

describe('pageRequest', () => {
  test('a cursor leads back to the position that it was made of', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.maxSafeInteger(),
        (text, number, integer) => {
          fc.pre(!text.includes('\0'));
          const after = encodeCursor(ORDER, [text, number, integer]);
          const page = pageRequest({ first: 1, after }, ORDER, ['string', 'number', 'integer']);
          expect(page.after).toEqual([text, number === 0 ? 0 : number, integer]);
        },
      ),
    );
  });

  test('whatever is sent as a cursor, it is taken or refused with BAD_USER_INPUT, never anything else', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.base64String(),
          fc.json().map((json) => Buffer.from(json).toString('base64url')),
        ),
        (after) => {
          try {
            pageRequest({ first: 1, after }, ORDER, ['string', 'string']);
          } catch (error) {
            expect(error).toMatchObject({ extensions: { code: 'BAD_USER_INPUT', field: 'after' } });
          }
        },
      ),
    );
  });

  test.each([
    ['another order', encodeCursor('things:price', ['a', 'b'])],
    ['too few values', encodeCursor(ORDER, ['a'])],
    ['a value of another type', encodeCursor(ORDER, ['a', 1])],
    ['a character that cannot be stored', encodeCursor(ORDER, ['a', 'b\0'])],
    ['no base64', '***'],
    ['empty', ''],
  ])('a cursor with %s is refused', (_what, after) => {
    expect(() => pageRequest({ first: 1, after }, ORDER, ['string', 'string'])).toThrow(/"after"/);
  });

  test.each([-1, MAX_PAGE_SIZE + 1, 100_000])('first: %i is refused', (first) => {
    expect(() => pageRequest({ first, after: null }, ORDER, ['string'])).toThrow(/"first" must be between 0 and 100/);
  });

  test('without arguments it is the first page of twenty', () => {
    expect(pageRequest({ first: null, after: undefined }, ORDER, ['string'])).toEqual({ first: 20, after: null });
  });
});

describe('Page', () => {
  const page = (rows: string[], first: number, after: string[] | null = null) =>
    new Page(
      { first, after },
      rows,
      (row) => `cursor of ${row}`,
      async () => 7,
    );

  test('the extra row says that there is a next page and is not shown', () => {
    const { nodes, pageInfo } = page(['a', 'b', 'c'], 2);
    expect(nodes).toEqual(['a', 'b']);
    expect(pageInfo).toEqual({
      hasNextPage: true,
      hasPreviousPage: false,
      startCursor: 'cursor of a',
      endCursor: 'cursor of b',
    });
  });

  test('a page behind a cursor has a previous one; an empty page has no cursors', () => {
    expect(page([], 2, ['z']).pageInfo).toEqual({
      hasNextPage: false,
      hasPreviousPage: true,
      startCursor: null,
      endCursor: null,
    });
  });
});

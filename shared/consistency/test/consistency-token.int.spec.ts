import { InvalidTokenError, readConsistencyToken, writeConsistencyToken } from '@tributary/consistency';
import { expect, test } from 'vitest';

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

test('a token carries the position of each service', () => {
  const positions = new Map([
    ['orders', 812],
    ['users', 377],
  ]);
  expect(readConsistencyToken(writeConsistencyToken(positions))).toEqual(positions);
});

test('what is not a token is refused', () => {
  const tooMany = Object.fromEntries(Array.from({ length: 51 }, (_, i) => [`s${i}`, 1]));
  for (const text of [
    '',
    '%',
    'e30x',
    encode(null),
    encode({ 'no name': 1 }),
    encode({ orders: 1.5 }),
    encode(tooMany),
  ])
    expect(() => readConsistencyToken(text), text).toThrow(InvalidTokenError);
});

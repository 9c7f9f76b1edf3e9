import { parseValue } from 'graphql';
import { describe, expect, test } from 'vitest';
import { DateTime, Decimal, JSONValue } from './scalars.js';

describe('Decimal', () => {
  test.each(['261.96', '0', '-1.5', '9999999999999999.99999999'])('%s is taken as it stands', (text) => {
    expect(Decimal.parseValue(text)).toBe(text);
  });

  test.each(['1e3', '1.', '.5', 'NaN', 'Infinity', '1,5', ' 1', '', '12345678901234567', '1e999999', 0.1, null, {}])(
    '%j is refused',
    (value) => {
      expect(() => Decimal.parseValue(value)).toThrow(/Decimal must be/);
    },
  );
});

describe('DateTime', () => {
  test.each([
    '0001-01-01T00:00:00.000Z',
    '1582-10-15T12:00:00.001Z',
    '2016-02-29T23:59:59.999Z',
    '9999-12-31T23:59:59.999Z',
  ])('%s is shown as it was read', (text) => {
    expect(DateTime.serialize(DateTime.parseValue(text))).toBe(text);
  });

  test('another time zone becomes UTC', () => {
    expect(DateTime.serialize(DateTime.parseValue('2016-11-08T01:00:00+02:00'))).toBe('2016-11-07T23:00:00.000Z');
  });

  test.each([
    '2016-11-08',
    '2016-11-08T00:00:00',
    '2016-02-30T00:00:00Z',
    '2015-02-29T00:00:00Z',
    '2016-11-08T24:00:00Z',
    '2016-11-08T00:00:60Z',
    '2016-11-08T00:00:00+24:00',
    '0000-12-31T23:59:59Z',
    '0001-01-01T00:00:00+00:01',
    '9999-12-31T23:59:59-00:01',
    '2016-13-01T00:00:00Z',
    'yesterday',
    1478563200,
  ])('%j is refused', (value) => {
    expect(() => DateTime.parseValue(value)).toThrow(/DateTime must be RFC 3339/);
  });
});

describe('JSON', () => {
  const variables = { deep: JSON.parse(`${'['.repeat(31)}${']'.repeat(31)}`), shallow: [1] };
  const read = (literal: string) => JSONValue.parseLiteral(parseValue(literal), variables);

  test('a literal is read as JSON, with variables in it', () => {
    expect(read('{ a: [1, 2.5, "x", true, null], b: $shallow, __proto__: 1 }')).toEqual(
      JSON.parse('{"a": [1, 2.5, "x", true, null], "b": [1], "__proto__": 1}'),
    );
  });

  test.each([
    ['nesting by a variable', '[[$deep]]', /32 levels/],
    ['nesting', '{a:'.repeat(33) + '1' + '}'.repeat(33), /32 levels/],
    ['a number out of range', '{ e: 1e400 }', /number/],
    ['an enum value', '[RED]', /enum/],
    ['NUL', '"\\u0000"', /NUL/],
  ])('a literal with %s is refused', (_what, literal, message) => {
    expect(() => read(literal)).toThrow(message);
  });

  test('32 levels are accepted', () => {
    expect(() => read('[$deep]')).not.toThrow();
  });
});

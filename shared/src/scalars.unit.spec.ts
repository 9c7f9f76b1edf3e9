import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { DateTime, Decimal } from './scalars.js';

describe('Decimal', () => {
  test.each(['261.96', '0', '-1.5', '9999999999999999.99999999'])('%s is taken as it stands', (text) => {
    expect(Decimal.parseValue(text)).toBe(text);
  });

  test.each(['1e3', '1.', '.5', 'NaN', 'Infinity', '1,5', ' 1', '', '12345678901234567', 0.1, null, {}])(
    '%j is refused',
    (value) => {
      expect(() => Decimal.parseValue(value)).toThrow(/Decimal wants/);
    },
  );
});

describe('DateTime', () => {
  test('what is shown is read back as the same moment', () => {
    fc.assert(
      fc.property(
        fc.date({ min: new Date('1000-01-01'), max: new Date('9999-12-31'), noInvalidDate: true }),
        (date) => {
          expect(DateTime.parseValue(DateTime.serialize(date))).toEqual(date);
        },
      ),
    );
  });

  test('another time zone becomes UTC', () => {
    expect(DateTime.serialize(DateTime.parseValue('2016-11-08T01:00:00+02:00'))).toBe('2016-11-07T23:00:00.000Z');
  });

  test.each([
    '2016-11-08',
    '2016-11-08T00:00:00',
    '2016-02-30T00:00:00Z',
    '2016-13-01T00:00:00Z',
    'yesterday',
    1478563200,
  ])('%j is refused', (value) => {
    expect(() => DateTime.parseValue(value)).toThrow(/DateTime wants RFC 3339/);
  });
});

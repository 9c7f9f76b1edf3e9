import type { Random } from '../harness/random.ts';

/** Texts that clients send by mistake or on purpose: empty, invisible, unpaired, decomposed, quoted, too long. */
const TEXTS: readonly string[] = [
  '',
  ' ',
  '\u0000',
  'a\u0000b',
  '\ud800',
  'x\udc00y',
  '\u200b',
  '\u202eabc',
  '\u0007',
  'Jose\u0301 A\u030angstro\u0308m',
  'José Ångström',
  '😀 Emoji 👩‍👩‍👧',
  "O'Neil; drop table users; --",
  'St.John Rivers',
  'Meyer/Schulz GmbH',
  'J.R.R.Tolkien',
  'C:\\udata\\u0000',
  '100% _under_ \\',
  '"quoted phrase',
  '-without -all or or',
  '&|!():*<->',
  'null',
  'undefined',
  'NaN',
  '__proto__',
  'constructor',
  'line\nbreak\ttab',
  'a'.repeat(201),
  'long '.repeat(5000),
];

const INTEGERS: readonly unknown[] = [0, -1, 1, 2, 1_000_000, 1_000_001, 2_147_483_647, 2_147_483_648, 1.5, '1', null];

const DECIMALS: readonly unknown[] = [
  '0',
  '-1',
  '0.01',
  '0.001',
  '1e3',
  '1e999999',
  '-0',
  '+5',
  ' 5 ',
  '0x10',
  'NaN',
  'Infinity',
  'abc',
  '',
  '99999999999999999999',
  5,
  null,
];

const DATES: readonly unknown[] = [
  '2016-02-30T00:00:00Z',
  '2016-11-08T24:00:00Z',
  '0000-01-01T00:00:00Z',
  '9999-12-31T23:59:59.999Z',
  '2016-11-08T00:00:00+14:00',
  '2016-11-08',
  'yesterday',
  '',
  1_478_563_200_000,
];

const IDS: readonly unknown[] = ['', ' ', 'unknown', '0', '*', 'a'.repeat(5000), '\ud800', '\u0000', 7, null];

/** A JSON value of nested lists. */
function nested(depth: number): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = [value];
  return value;
}

const JSON_VALUES: readonly (() => unknown)[] = [
  () => ({}),
  () => ({ path: 'C:\\udata', escaped: '\\u0000', quote: '"' }),
  () => ({ a: nested(20) }),
  () => ({ a: nested(300) }),
  () => ({ a: nested(4109) }),
  () => ({ '': 1, ' ': 2, constructor: 3 }),
  () => JSON.parse('{"__proto__":{"polluted":true}}'),
  () => ({ big: 1e308, small: 5e-324, negative: -0, list: [[], {}, null, true] }),
  () => ({ text: '\ud800' }),
  () => ({ text: 'a\u0000b' }),
  () => [1, 2, 3],
  () => 'text',
  () => null,
  () => ({ long: 'x'.repeat(25_000) }),
  () => ({ 'Jose\u0301': '😀' }),
];

export const nonsense = {
  text: (random: Random) => random.pick(TEXTS),
  integer: (random: Random) => random.pick(INTEGERS),
  decimal: (random: Random) => random.pick(DECIMALS),
  date: (random: Random) => random.pick(DATES),
  id: (random: Random) => random.pick(IDS),
  json: (random: Random) => random.pick(JSON_VALUES)(),
};

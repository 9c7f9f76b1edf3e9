// Command lines of the tools here. What is wrong with one is a line on standard error, and exit code 2.
import { parseArgs } from 'node:util';

/** @returns {never} */
export function refuse(message) {
  process.stderr.write(`${message}\n`);
  process.exit(2);
}

/** `parseArgs`, which throws for options that are unknown or lack a value. */
export function readCommandLine(config) {
  try {
    return parseArgs(config);
  } catch (error) {
    const hint = config.options?.help ? ' --help lists the options.' : '';
    return refuse(`${error.message.split(/\.\s/)[0].replace(/\.$/, '')}.${hint}`);
  }
}

/** The number that a text is. @param name of the option or argument, for the message */
export function readNumber(name, text, { above = 0, max = Number.MAX_SAFE_INTEGER, whole = false } = {}) {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value > above && value <= max && (!whole || Number.isInteger(value))) return value;
  const upTo = max === Number.MAX_SAFE_INTEGER ? '' : `, up to ${max}`;
  return refuse(
    `${name}: expected a ${whole ? 'whole ' : ''}number above ${above}${upTo}; got ${JSON.stringify(text)}`,
  );
}

/** Numbers that are given in order: `{ seconds: 10 }` says which, and their defaults. `--help` prints the usage, and ends the program. */
export function readNumbers(defaults, usage) {
  const { values, positionals } = readCommandLine({
    options: { help: { type: 'boolean', short: 'h', default: false } },
    allowPositionals: true,
  });
  if (values.help) {
    process.stdout.write(`${usage}\n`);
    process.exit(0);
  }
  const names = Object.keys(defaults);
  if (positionals.length > names.length) refuse(`expected at most these arguments: ${names.join(', ')}`);
  return names.map((name, i) => (positionals[i] === undefined ? defaults[name] : readNumber(name, positionals[i])));
}

/** One of some words. */
export function readWord(name, text, words) {
  if (words.includes(text)) return text;
  return refuse(`${name}: expected one of ${words.join(', ')}; got ${JSON.stringify(text)}`);
}

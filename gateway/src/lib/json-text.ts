import type { Json } from './json.js';

const SHORT = 64;
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what JSON escapes
const ESCAPED = /["\\\u0000-\u001f\ud800-\udfff]/;

/** A text as JSON has it: what JSON.stringify says, at less cost for the many texts in which nothing is escaped. */
export function quote(text: string): string {
  if (text.length >= SHORT) return ESCAPED.test(text) ? JSON.stringify(text) : `"${text}"`;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x20 || code === 0x22 || code === 0x5c || (code >= 0xd800 && code <= 0xdfff))
      return JSON.stringify(text);
  }
  return `"${text}"`;
}

/** A text in which nothing is escaped, as JSON has it. */
export function enclose(text: string): string {
  return `"${text}"`;
}

/** How texts are written: by `quote`, or by `enclose` where it is known to do. */
export type Quote = (text: string) => string;

/** How deep a value of a custom scalar may be; what is far deeper cannot be written. */
const MAX_DEPTH = 500;

/** Whether a value can be written as JSON as it is: no number that overflowed when it was read (`1e400`), not nested too deeply. */
export function isJson(value: Json | undefined, depth = 0): boolean {
  if (typeof value === 'number') return Number.isFinite(value);
  if (typeof value !== 'object' || value === null) return true;
  return depth < MAX_DEPTH && Object.values(value).every((each) => isJson(each, depth + 1));
}

/** A value that was JSON, as JSON again. */
export function textOf(value: Json): string {
  return typeof value === 'string' ? quote(value) : JSON.stringify(value);
}

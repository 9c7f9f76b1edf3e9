import { badUserInput, isWellFormed } from '@tributary/server';
import Big from 'big.js';

/** The longest id that anything stored can have, in characters: earlier releases took any reference of this length. */
export const MAX_ID_LENGTH = 200;
/**
 * The longest id that a command may name, in bytes of UTF-8. The services give out UUIDs, and the history has shorter ids. Ids travel in
 * events and invalidations, many of them in one message.
 */
const MAX_ID_BYTES = 128;
export const MAX_SEARCH_LENGTH = 200;
export const MAX_SEARCH_WORDS = 20;

const NUL = /\0/;
const CONTROL = /\p{Cc}/u;
const CONTROL_EXCEPT_BREAKS = /[^\P{Cc}\t\n\r]/u;
const LINE_BREAK = /[\u2028\u2029]/;
/** A character that leaves a mark: no separator, control or format character, no blank that Unicode calls a letter or symbol. */
const VISIBLE = /[^\p{Z}\p{Cc}\p{Cf}\p{Default_Ignorable_Code_Point}\u2800]/u;
/** Letters and decimal digits, with the marks that belong to them, such as vowel signs. */
const WORDS = /[\p{L}\p{Nd}][\p{L}\p{M}\p{Nd}]*/gu;

/**
 * Checks a text from a client, which may have several lines.
 *
 * @returns the text trimmed and in Unicode's composed form (NFC)
 * @throws ApiError BAD_USER_INPUT when nothing of it is visible, it is longer than `max`, or it holds control characters
 */
export function requireText(field: string, value: string, max = 200): string {
  const text = requireCharacters(field, value.trim(), CONTROL_EXCEPT_BREAKS).normalize('NFC');
  if (!VISIBLE.test(text)) throw badUserInput(field, `"${field}" must not be empty.`, 'EMPTY');
  return requireLength(field, text, max);
}

/** Checks a text of one line, such as a name. @see requireText */
export function requireLine(field: string, value: string, max = 200): string {
  const line = requireText(field, value, max);
  if (CONTROL.test(line) || LINE_BREAK.test(line)) throw unfitCharacter(field);
  return line;
}

/** Checks a text of one line that may be left out. */
export function optionalLine(field: string, value: string | null | undefined, max = 200): string | null {
  return value === null || value === undefined ? null : requireLine(field, value, max);
}

/** Checks a text that is compared with stored ones, as they are: composed (NFC). */
export function optionalExact(field: string, value: string | null | undefined, max = 200): string | null {
  if (value === null || value === undefined) return null;
  // Earlier releases stored control characters; only what cannot be stored is refused.
  return requireLength(field, requireCharacters(field, value, NUL), max).normalize('NFC');
}

/** Checks the id that a command names. (A query answers null for an id that cannot exist.) */
export function requireId(field: string, value: string): string {
  return requireBytes(field, requireCharacters(field, value, CONTROL), MAX_ID_BYTES);
}

/**
 * Checks a search text: at most 200 characters and 20 words.
 *
 * @returns the text in Unicode's composed form (NFC), or null when it has no word to search for
 */
export function optionalSearch(field: string, value: string | null | undefined): string | null {
  if (value === null || value === undefined) return null;
  const given = requireLength(field, requireCharacters(field, value, CONTROL_EXCEPT_BREAKS), MAX_SEARCH_LENGTH);
  const text = given.normalize('NFC');
  const words = text.match(WORDS)?.length ?? 0;
  if (words > MAX_SEARCH_WORDS) {
    throw badUserInput(field, `"${field}" may have at most ${MAX_SEARCH_WORDS} words, got ${words}.`, 'TOO_MANY_WORDS');
  }
  return words === 0 ? null : text;
}

function requireLength(field: string, text: string, max: number): string {
  if (text.length <= max) return text;
  throw badUserInput(field, `"${field}" may have at most ${max} characters, got ${text.length}.`, 'TOO_LONG');
}

function requireBytes(field: string, text: string, max: number): string {
  const bytes = Buffer.byteLength(text);
  if (bytes <= max) return text;
  throw badUserInput(field, `"${field}" may have at most ${max} bytes in UTF-8, got ${bytes}.`, 'TOO_LONG');
}

function requireCharacters(field: string, text: string, unfit: RegExp): string {
  if (unfit.test(text) || !isWellFormed(text)) throw unfitCharacter(field);
  return text;
}

function unfitCharacter(field: string) {
  return badUserInput(field, `"${field}" contains a control character or an unpaired surrogate.`, 'CHARACTER');
}

/** Checks an amount of money from a client: above zero, whole cents, at most `max`. Two decimals come back. */
export function requireAmount(field: string, value: string, max = 1_000_000): string {
  const amount = new Big(value);
  if (amount.lte(0)) throw badUserInput(field, `"${field}" must be above 0, got ${value}.`, 'NOT_POSITIVE');
  if (amount.gt(max)) throw badUserInput(field, `"${field}" may be at most ${max}, got ${value}.`, 'TOO_LARGE');
  if (!amount.eq(amount.round(2))) {
    throw badUserInput(field, `"${field}" may have at most two decimals, got ${value}.`, 'FRACTION_OF_A_CENT');
  }
  return amount.toFixed(2);
}

/** Checks a quantity from a client: a whole number from `min` to `max`. */
export function requireQuantity(field: string, value: number, min = 1, max = 1_000_000): number {
  if (value < min || value > max) {
    throw badUserInput(field, `"${field}" must be from ${min} to ${max}, got ${value}.`, 'OUT_OF_RANGE');
  }
  return value;
}

/**
 * Checks an id that a command refers to, of something that another service owns. Blanks around it are left out; else it stays as it is, so
 * that what earlier releases stored is found again.
 *
 * @throws ApiError BAD_USER_INPUT when it is empty, longer than 128 bytes in UTF-8, or cannot be stored
 */
export function requireReference(field: string, value: string): string {
  return requireBytes(field, requireStorable(field, value), MAX_ID_BYTES);
}

/**
 * Checks the key under which a client repeats a request safely. It is compared with stored ones, and never shown.
 *
 * @throws ApiError BAD_USER_INPUT when it is empty, longer than 200 characters, or cannot be stored
 * @see requireReference
 */
export function requireIdempotencyKey(value: string): string {
  const field = 'idempotencyKey';
  return requireLength(field, requireStorable(field, value), MAX_ID_LENGTH);
}

function requireStorable(field: string, value: string): string {
  const text = requireCharacters(field, value.trim(), NUL);
  if (text === '') throw badUserInput(field, `"${field}" must not be empty.`, 'EMPTY');
  return text;
}

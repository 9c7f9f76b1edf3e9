import Big from 'big.js';
import { badUserInput } from './errors.js';

/** Checks a text from a client: trimmed, not empty, at most `max` characters. */
export function requireText(field: string, value: string, max = 200): string {
  const text = value.trim();
  if (text === '') throw badUserInput(field, `"${field}" must not be empty.`, 'EMPTY');
  if (text.length > max) {
    throw badUserInput(field, `"${field}" may have at most ${max} characters, got ${text.length}.`, 'TOO_LONG');
  }
  return text;
}

/** Checks a text that may be left out. */
export function optionalText(field: string, value: string | null | undefined, max = 200): string | null {
  return value === null || value === undefined ? null : requireText(field, value, max);
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

/** Checks the key under which a client repeats a request safely. */
export function requireIdempotencyKey(value: string): string {
  return requireText('idempotencyKey', value, 200);
}

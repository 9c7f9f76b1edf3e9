import Big from 'big.js';

/** Every amount in the graph is in this currency (ISO 4217). */
export const CURRENCY = 'USD';

/** An amount of money: `amount` is an exact decimal string with two places, "261.96". */
export interface MoneyAmount {
  readonly amount: string;
  readonly currency: string;
}

/** Shows a database `numeric` (which arrives as a string, exact) as money. */
export function money(amount: string): MoneyAmount {
  return { amount: new Big(amount).toFixed(2), currency: CURRENCY };
}

/** Rounds to cents the way an invoice does: half a cent goes up, away from zero. */
export function roundToCents(amount: Big): string {
  return amount.toFixed(2, Big.roundHalfUp);
}

/** The exact sum of decimal strings, with two places. */
export function sumAmounts(amounts: Iterable<string>): string {
  let sum = new Big(0);
  for (const amount of amounts) sum = sum.plus(amount);
  return sum.toFixed(2);
}

/**
 * Whether an error is of the database or the way to it, and no fault of what was asked: connection lost (08), resources (53),
 * shut down (57), deadlock (40), lock not available (55), a transaction that hung (25P03), or no answer at all.
 */
export function isPassing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return /connection|timeout/i.test((error as Error).message);
  return /^(08|53|57|40|55|25P03)/.test(code) || /^E[A-Z]+$/.test(code);
}

import { isTransient } from '@tributary/server';

/**
 * Does work on all items at once. When that fails, it does the halves one after the other, in order, down to the single items that
 * fail; so the work on `n` items is repeated about `log2(n)` times for each of those.
 *
 * @param run does all of its part, or (by throwing) nothing of it
 * @param onFailure what becomes of a single item that fails
 * @throws what is no fault of an item: a lost connection, a deadlock
 */
export async function inHalves<Item>(
  items: readonly Item[],
  run: (part: readonly Item[]) => Promise<void>,
  onFailure: (item: Item, error: unknown) => Promise<void>,
): Promise<void> {
  const [only] = items;
  if (only === undefined) return;
  try {
    await run(items);
  } catch (error) {
    if (isTransient(error)) throw error;
    if (items.length === 1) return onFailure(only, error);
    const middle = Math.ceil(items.length / 2);
    await inHalves(items.slice(0, middle), run, onFailure);
    await inHalves(items.slice(middle), run, onFailure);
  }
}

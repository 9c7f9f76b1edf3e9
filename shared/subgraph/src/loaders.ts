import { ApiError, isWellFormed } from '@tributary/server';
import DataLoader from 'dataloader';
import { MAX_ID_LENGTH } from './input.js';

/** The most keys that one statement asks for. */
const MAX_BATCH = 1000;

/** Loads one row per key; null where there is none. All keys of one tick share a statement. */
export function rowLoader<Row>(
  load: (keys: readonly string[]) => Promise<readonly Row[]>,
  keyOf: (row: Row) => string,
): DataLoader<string, Row | null> {
  return keyLoader(async (keys) => {
    const byKey = new Map((await load(keys)).map((row) => [keyOf(row), row]));
    return (key) => byKey.get(key) ?? null;
  }, null);
}

/** Loads the rows that belong to each key, in the order in which they were read. */
export function groupedLoader<Row>(
  load: (keys: readonly string[]) => Promise<readonly Row[]>,
  keyOf: (row: Row) => string,
): DataLoader<string, readonly Row[]> {
  return keyLoader<readonly Row[]>(async (keys) => {
    const groups = new Map<string, Row[]>(keys.map((key) => [key, []]));
    for (const row of await load(keys)) groups.get(keyOf(row))?.push(row);
    return (key) => groups.get(key) ?? [];
  }, []);
}

/**
 * Keys that cannot exist are not asked for: one that is too long has no rows, one that cannot be stored is an error of its
 * own and not of the keys beside it.
 */
function keyLoader<Value>(
  load: (keys: readonly string[]) => Promise<(key: string) => Value>,
  nothing: Value,
): DataLoader<string, Value> {
  return new DataLoader<string, Value>(
    async (keys) => {
      const possible = keys.filter((key) => key.length <= MAX_ID_LENGTH && isStorable(key));
      const find = possible.length > 0 ? await load(possible) : () => nothing;
      return keys.map((key) => {
        if (!isStorable(key))
          return new ApiError('BAD_USER_INPUT', 'A text contains a character that cannot be stored.', {
            reason: 'CHARACTER',
          });
        return key.length <= MAX_ID_LENGTH ? find(key) : nothing;
      });
    },
    { maxBatchSize: MAX_BATCH },
  );
}

function isStorable(key: string): boolean {
  return !key.includes('\0') && isWellFormed(key);
}

/** A cache of loaded data that `clearAll` empties. */
export interface Clearable {
  clearAll(): unknown;
}

/** One loader per set of field arguments, so that fields asked with the same arguments share a statement. */
export function loaderByArguments<Arguments, Loader>(
  create: (args: Arguments) => Loader,
): ((args: Arguments) => Loader) & Clearable {
  const loaders = new Map<string, Loader>();
  const loaderOf = (args: Arguments) => {
    const key = JSON.stringify(args);
    let loader = loaders.get(key);
    if (!loader) {
      loader = create(args);
      loaders.set(key, loader);
    }
    return loader;
  };
  return Object.assign(loaderOf, { clearAll: () => loaders.clear() });
}

/**
 * Clears every loader that is a property of a request's context. Called after each mutation field, so that the field's
 * selection reads the state that the command left.
 */
export function clearLoaders(context: object): void {
  for (const value of Object.values(context)) if (isClearable(value)) value.clearAll();
}

function isClearable(value: unknown): value is Clearable {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  return typeof (value as Partial<Clearable>).clearAll === 'function';
}

import DataLoader from 'dataloader';

/** The most keys that one statement asks for. */
const MAX_BATCH = 1000;

/** Loads one row per key; null where there is none. All keys of one tick share a statement. */
export function rowLoader<Row>(
  load: (keys: readonly string[]) => Promise<readonly Row[]>,
  keyOf: (row: Row) => string,
): DataLoader<string, Row | null> {
  return new DataLoader(
    async (keys) => {
      const byKey = new Map((await load(keys)).map((row) => [keyOf(row), row]));
      return keys.map((key) => byKey.get(key) ?? null);
    },
    { maxBatchSize: MAX_BATCH },
  );
}

/** Loads the rows that belong to each key, in the order in which they were read. */
export function groupedLoader<Row>(
  load: (keys: readonly string[]) => Promise<readonly Row[]>,
  keyOf: (row: Row) => string,
): DataLoader<string, readonly Row[]> {
  return new DataLoader(
    async (keys) => {
      const groups = new Map<string, Row[]>(keys.map((key) => [key, []]));
      for (const row of await load(keys)) groups.get(keyOf(row))?.push(row);
      return keys.map((key) => groups.get(key) ?? []);
    },
    { maxBatchSize: MAX_BATCH },
  );
}

/** Something that remembers what it loaded until it is told to forget it. */
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

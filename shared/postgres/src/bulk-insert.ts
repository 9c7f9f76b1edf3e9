import { type Kysely, type RawBuilder, sql } from 'kysely';

const BATCH = 2000;

/**
 * Inserts many rows with one statement and one parameter per batch (rows travel as JSON).
 *
 * @param columns column name → PostgreSQL type, in which the JSON value is read
 * @param options.onConflict what to do with an existing row, `on conflict …`; its alias is `stored`
 * @param options.onRows called after each batch with its number of rows
 */
export async function bulkInsert<Row extends object>(
  db: Kysely<never>,
  table: string,
  columns: { readonly [K in keyof Row & string]: string },
  rows: readonly Row[],
  options: { readonly onConflict?: RawBuilder<unknown>; readonly onRows?: (count: number) => void } = {},
): Promise<void> {
  const { onConflict = sql``, onRows } = options;
  const names = sql.join(Object.keys(columns).map((name) => sql.ref(name)));
  const typed = sql.join(Object.entries<string>(columns).map(([name, type]) => sql`${sql.ref(name)} ${sql.raw(type)}`));
  for (let start = 0; start < rows.length; start += BATCH) {
    const batch = rows.slice(start, start + BATCH);
    await sql`
      insert into ${sql.table(table)} as stored (${names})
      select ${names} from jsonb_to_recordset(${JSON.stringify(batch)}::jsonb) as batch (${typed})
      ${onConflict}
    `.execute(db);
    onRows?.(batch.length);
  }
}

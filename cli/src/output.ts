/** A row of a table: a cell for each column. */
export type Row = Readonly<Record<string, string | number | null>>;

/** Prints what a command found: as JSON for programs, else as a table, or in words when there is nothing. */
export function print(
  found: unknown,
  options: { readonly json: boolean; readonly rows: readonly Row[]; readonly empty: string },
): void {
  if (options.json) process.stdout.write(`${JSON.stringify(found, null, 2)}\n`);
  else process.stdout.write(options.rows.length === 0 ? `${options.empty}\n` : table(options.rows));
}

function table(rows: readonly Row[]): string {
  const columns = Object.keys(rows[0] ?? {});
  const cells = [columns, ...rows.map((row) => columns.map((column) => String(row[column] ?? '-')))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  return cells
    .map(
      (line) =>
        `${line
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

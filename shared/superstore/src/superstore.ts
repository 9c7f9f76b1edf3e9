import Big from 'big.js';
import { type OrderLine, parseOrderLines, type RejectedLine, readSuperstoreCsv } from './order-lines.js';

/** How far apart the copies of an order are, in minutes: without a common divisor with the morning, so that all differ. */
const STRIDE = 277;
const MORNING_MINUTES = 720;

export interface Address {
  readonly line: string | null;
  readonly city: string;
  readonly state: string | null;
  readonly postalCode: string | null;
  readonly country: string;
  readonly region: string | null;
}

export interface Customer {
  readonly id: string;
  readonly name: string;
  /** Made up: the source has none. */
  readonly email: string;
  readonly segment: string;
  /** Every address that an order of theirs was shipped to, the latest first. */
  readonly addresses: readonly Address[];
  /** Start of the day of their first order. */
  readonly createdAt: Date;
}

export interface CatalogueProduct {
  /** Also the SKU. */
  readonly id: string;
  readonly name: string;
  readonly category: string;
  readonly subCategory: string;
  /** Unit list price, exact to the cent. */
  readonly price: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly createdAt: Date;
}

export interface HistoricalOrder {
  /** Also the order number, "CA-2016-152156". */
  readonly id: string;
  readonly customerId: string;
  /** 00:00 UTC of the order day (the source has days, no times). */
  readonly placedAt: Date;
  /** 12:00 UTC of the ship day, so that it follows `placedAt` even when both are the same day. */
  readonly confirmedAt: Date;
  readonly lines: readonly HistoricalOrderLine[];
  readonly total: string;
}

export interface HistoricalOrderLine {
  readonly productId: string;
  readonly quantity: number;
  readonly unitPrice: string;
  readonly discount: string;
  readonly lineTotal: string;
}

/** Where every line of the source went. `linesRead = linesUsed + linesLeftOut + linesRejected.length`. */
export interface ImportReport {
  readonly linesRead: number;
  readonly linesUsed: number;
  /** Lines of orders that a scale below 1 leaves out. */
  readonly linesLeftOut: number;
  readonly linesRejected: readonly RejectedLine[];
  readonly customers: number;
  readonly products: number;
  readonly orders: number;
  readonly orderLines: number;
  readonly copies: number;
  /** Product ids that carry more than one name; the product has the most used one, the others are in `attributes`. */
  readonly productsWithSeveralNames: readonly string[];
  /** Orders that list one product more than once; all their lines are imported. */
  readonly ordersListingAProductTwice: readonly string[];
  /** Lines whose sales amount has fractions of a cent, and what rounding them changed in total. */
  readonly salesRounded: number;
  readonly salesRoundingDifference: string;
  readonly postalCodesPadded: number;
  /** Orders whose lines disagree on customer or days; the first line was believed. */
  readonly ordersWithContradictions: readonly string[];
}

/** The Superstore history, repaired and split by the service that owns it. */
export interface Superstore {
  readonly customers: readonly Customer[];
  readonly products: readonly CatalogueProduct[];
  readonly orders: readonly HistoricalOrder[];
  readonly report: ImportReport;
}

/**
 * Reads the Superstore history.
 *
 * @param scale 1 is the history as it is; below 1 a share of its orders, evenly spread; a whole number above 1 that
 *   many times its customers and orders (copies carry a suffix, "CG-12520-2"; products stay as they are)
 * @throws RangeError for a scale that is none of these
 */
export function readSuperstore(scale = 1, csv: string = readSuperstoreCsv()): Superstore {
  if (!(scale > 0) || (scale > 1 && !Number.isInteger(scale))) {
    throw new RangeError(`The scale must be a share between 0 and 1, or a whole number; got ${scale}.`);
  }
  const { lines, rejected } = parseOrderLines(csv);
  const used = scale < 1 ? shareOfOrders(lines, scale) : lines;
  const copies = Math.max(1, scale);

  const postalCodesPadded = used.filter((line) => postalCode(line) !== line.postalCode).length;
  const roundedLines = used.filter((line) => !new Big(line.sales).eq(lineTotal(line)));
  const customers = replicate(readCustomers(used), copies, copyOfCustomer);
  const products = readProducts(used);
  const history = readOrders(used);
  const orders = replicate(history.orders, copies, copyOfOrder);

  return {
    customers,
    products: products.catalogue,
    orders,
    report: {
      linesRead: lines.length + rejected.length,
      linesUsed: used.length,
      linesLeftOut: lines.length - used.length,
      linesRejected: rejected,
      customers: customers.length,
      products: products.catalogue.length,
      orders: orders.length,
      orderLines: orders.reduce((count, order) => count + order.lines.length, 0),
      copies,
      productsWithSeveralNames: products.withSeveralNames,
      ordersListingAProductTwice: history.listingAProductTwice,
      salesRounded: roundedLines.length,
      salesRoundingDifference: subtractExact(
        roundedLines.map(lineTotal),
        roundedLines.map((line) => line.sales),
      ),
      postalCodesPadded,
      ordersWithContradictions: history.withContradictions,
    },
  };
}

function shareOfOrders(lines: readonly OrderLine[], share: number): OrderLine[] {
  const ids = [...new Set(lines.map((line) => line.orderId))].sort();
  const selected = new Set(ids.filter((_, i) => Math.floor((i + 1) * share) > Math.floor(i * share)));
  return lines.filter((line) => selected.has(line.orderId));
}

function readCustomers(lines: readonly OrderLine[]): Customer[] {
  const emails = new Set<string>();
  return groupBy(lines, (line) => line.customerId).map(([id, theirs]) => {
    const [first] = theirs;
    const byDay = theirs.toSorted((a, b) => b.orderDay.localeCompare(a.orderDay) || a.rowId.localeCompare(b.rowId));
    const addresses = new Map(byDay.map((line) => [JSON.stringify(address(line)), address(line)]));
    return {
      id,
      name: cleanText(first.customerName),
      email: uniqueEmail(first, emails),
      segment: first.segment,
      addresses: [...addresses.values()],
      createdAt: startOf(byDay.at(-1)?.orderDay ?? first.orderDay),
    };
  });
}

function uniqueEmail(line: OrderLine, taken: Set<string>): string {
  const name = line.customerName.toLowerCase().replace(/[^a-z]+/g, '.');
  const plain = `${name}@example.com`;
  const email = taken.has(plain) ? `${name}.${line.customerId.toLowerCase()}@example.com` : plain;
  taken.add(email);
  return email;
}

function address(line: OrderLine): Address {
  return {
    line: null,
    city: line.city,
    state: line.state,
    postalCode: postalCode(line),
    country: line.country,
    region: line.region,
  };
}

/** US postal codes have five digits; a spreadsheet took the leading zeros of New England's. */
function postalCode(line: OrderLine): string {
  return line.country === 'United States' && /^\d{3,4}$/.test(line.postalCode)
    ? line.postalCode.padStart(5, '0')
    : line.postalCode;
}

function readProducts(lines: readonly OrderLine[]) {
  const withSeveralNames: string[] = [];
  const catalogue = groupBy(lines, (line) => line.productId).map(([id, sold]): CatalogueProduct => {
    const byUse = groupBy(sold, (line) => cleanText(line.productName)).toSorted(
      ([a, linesOfA], [b, linesOfB]) => linesOfB.length - linesOfA.length || a.localeCompare(b),
    );
    const [mostUsed, ...others] = byUse as [(typeof byUse)[number], ...typeof byUse];
    const [name, linesOfName] = mostUsed;
    if (others.length > 0) withSeveralNames.push(id);
    const latest = linesOfName.reduce((a, b) => (b.orderDay > a.orderDay ? b : a));
    return {
      id,
      name,
      category: latest.category,
      subCategory: latest.subCategory,
      price: unitPrice(latest),
      attributes: others.length > 0 ? { otherNames: others.map(([other]) => other) } : {},
      createdAt: startOf(sold.reduce((day, line) => (line.orderDay < day ? line.orderDay : day), latest.orderDay)),
    };
  });
  return { catalogue, withSeveralNames };
}

function readOrders(lines: readonly OrderLine[]) {
  const listingAProductTwice: string[] = [];
  const withContradictions: string[] = [];
  const orders = groupBy(lines, (line) => line.orderId).map(([id, its]): HistoricalOrder => {
    const [first] = its;
    if (new Set(its.map((line) => line.productId)).size < its.length) listingAProductTwice.push(id);
    const agree = its.every(
      (line) =>
        line.customerId === first.customerId && line.orderDay === first.orderDay && line.shipDay === first.shipDay,
    );
    if (!agree) withContradictions.push(id);
    const orderLines = its.map((line) => ({
      productId: line.productId,
      quantity: line.quantity,
      unitPrice: unitPrice(line),
      discount: line.discount,
      lineTotal: lineTotal(line),
    }));
    return {
      id,
      customerId: first.customerId,
      placedAt: startOf(first.orderDay),
      confirmedAt: new Date(`${first.shipDay}T12:00:00.000Z`),
      lines: orderLines,
      total: sum(orderLines.map((line) => line.lineTotal)).toFixed(2),
    };
  });
  orders.sort((a, b) => a.placedAt.getTime() - b.placedAt.getTime() || (a.id < b.id ? -1 : 1));
  return { orders, listingAProductTwice, withContradictions };
}

/** The list price that the discount was taken from; exact to the cent for every line of the source. */
function unitPrice(line: OrderLine): string {
  return toCents(new Big(line.sales).div(new Big(1).minus(line.discount).times(line.quantity)));
}

function lineTotal(line: OrderLine): string {
  return toCents(new Big(line.sales));
}

/** Half a cent goes up, away from zero, as on an invoice. */
function toCents(amount: Big): string {
  return amount.toFixed(2, Big.roundHalfUp);
}

function sum(amounts: readonly string[]): Big {
  return amounts.reduce((total, amount) => total.plus(amount), new Big(0));
}

function copyOfCustomer(customer: Customer, copy: number): Customer {
  return { ...customer, id: `${customer.id}-${copy}`, email: customer.email.replace('@', `.${copy}@`) };
}

/** Copies of an order come at other minutes of its morning, so that they are not all one moment; shipping follows at noon. */
function copyOfOrder(order: HistoricalOrder, copy: number): HistoricalOrder {
  const minute = (copy * STRIDE) % MORNING_MINUTES;
  return {
    ...order,
    id: `${order.id}-${copy}`,
    customerId: `${order.customerId}-${copy}`,
    placedAt: new Date(order.placedAt.getTime() + minute * 60_000),
  };
}

function replicate<T>(originals: readonly T[], copies: number, copyOf: (original: T, copy: number) => T): T[] {
  const all = [...originals];
  for (let copy = 2; copy <= copies; copy++) for (const original of originals) all.push(copyOf(original, copy));
  return all;
}

function startOf(day: string): Date {
  return new Date(`${day}T00:00:00.000Z`);
}

/** No-break spaces become spaces, runs of spaces one. */
function cleanText(text: string): string {
  return text.replace(/\s+/gu, ' ').trim();
}

function subtractExact(a: readonly string[], b: readonly string[]): string {
  return sum(a).minus(sum(b)).toFixed();
}

function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): [string, [T, ...T[]]][] {
  const groups = new Map<string, [T, ...T[]]>();
  for (const item of items) {
    const group = groups.get(keyOf(item));
    if (group) group.push(item);
    else groups.set(keyOf(item), [item]);
  }
  return [...groups];
}

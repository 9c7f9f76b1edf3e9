import { sumAmounts } from '@tributary/subgraph';
import { describe, expect, test } from 'vitest';
import { readSuperstore } from './superstore.js';

describe('the Superstore history', () => {
  const history = readSuperstore();

  test('every line of the source is accounted for', () => {
    const { report } = history;
    expect(report).toMatchObject({
      linesRead: 9994,
      linesUsed: 9994,
      linesLeftOut: 0,
      linesRejected: [],
      customers: 793,
      products: 1862,
      orders: 5009,
      orderLines: 9994,
      salesRounded: 4001,
      postalCodesPadded: 449,
      ordersWithContradictions: [],
    });
    expect(report.productsWithSeveralNames).toHaveLength(32);
    expect(report.ordersListingAProductTwice).toHaveLength(8);
  });

  test('money is exact: unit price, quantity and discount give every line total to half a cent', () => {
    for (const order of history.orders) {
      for (const line of order.lines) {
        const exact = Number(line.unitPrice) * line.quantity * (1 - Number(line.discount));
        expect(Math.abs(exact - Number(line.lineTotal))).toBeLessThan(0.005001);
      }
      expect(order.total).toBe(sumAmounts(order.lines.map((line) => line.lineTotal)));
    }
  });

  test('half a cent is rounded up: Claire Gute spent 1148.78', () => {
    const hers = history.orders.filter((order) => order.customerId === 'CG-12520');
    expect(sumAmounts(hers.map((order) => order.total))).toBe('1148.78');
  });

  test('an order is confirmed after it was placed, even on the same day', () => {
    expect(history.orders.every((order) => order.confirmedAt > order.placedAt)).toBe(true);
  });

  test('a product with two names keeps the more used one and remembers the other', () => {
    for (const id of history.report.productsWithSeveralNames) {
      const product = history.products.find((candidate) => candidate.id === id);
      expect(product?.attributes).toEqual({ otherNames: [expect.any(String)] });
    }
  });

  test('e-mail addresses are unique', () => {
    expect(new Set(history.customers.map((customer) => customer.email)).size).toBe(793);
  });
});

describe('scale', () => {
  test('below 1 it keeps a share of the orders, with whole orders and no product unknown', () => {
    const history = readSuperstore(0.1);
    expect(history.orders).toHaveLength(500);
    expect(history.report.linesUsed + history.report.linesLeftOut).toBe(9994);
    const products = new Set(history.products.map((product) => product.id));
    const customers = new Set(history.customers.map((customer) => customer.id));
    expect(history.orders.every((order) => customers.has(order.customerId))).toBe(true);
    expect(history.orders.every((order) => order.lines.every((line) => products.has(line.productId)))).toBe(true);
  });

  test('above 1 it multiplies customers and orders, each copy with an id and an e-mail address of its own', () => {
    const history = readSuperstore(3);
    expect(history.orders).toHaveLength(3 * 5009);
    expect(new Set(history.orders.map((order) => order.id)).size).toBe(3 * 5009);
    expect(new Set(history.customers.map((customer) => customer.email)).size).toBe(3 * 793);
    const copies = history.orders.filter(({ id }) => id.startsWith('CA-2016-152156'));
    expect(new Set(copies.map(({ placedAt }) => placedAt.getTime())).size).toBe(3);
    expect(new Set(copies.map(({ placedAt }) => placedAt.toISOString().slice(0, 10)))).toEqual(new Set(['2016-11-08']));
    expect(copies.every(({ placedAt, confirmedAt }) => placedAt < confirmedAt)).toBe(true);
  });

  test.each([0, -1, 1.5, Number.NaN])('%d is refused', (scale) => {
    expect(() => readSuperstore(scale)).toThrow(RangeError);
  });
});

describe('dirty lines', () => {
  const header =
    'Row ID,Order ID,Order Date,Ship Date,Customer ID,Customer Name,Segment,Country,City,State,Postal Code,Region,' +
    'Product ID,Category,Sub-Category,Product Name,Sales,Quantity,Discount\n';
  const line = (overrides: Record<number, string> = {}) =>
    [
      '1',
      'O-1',
      '2016-11-08',
      '2016-11-11',
      'C-1',
      'Ann',
      'Consumer',
      'United States',
      'Dover',
      'Delaware',
      '7090',
      'East',
      'P-1',
      'Paper',
      'Sheets',
      'Ream',
      '10.005',
      '2',
      '0.2',
    ]
      .map((value, i) => overrides[i] ?? value)
      .join(',');

  test('what cannot be used is set aside with the row and the reason; the rest is imported', () => {
    const rows = [
      line(),
      line({ 0: '2', 16: 'ten' }),
      line({ 0: '3', 2: '2016-02-30' }),
      line({ 0: '4', 17: '-1' }),
      line({ 0: '5', 4: '' }),
    ];
    const { report, orders, customers } = readSuperstore(1, header + rows.join('\n'));
    expect(report.linesRead).toBe(5);
    expect(report.linesUsed).toBe(1);
    expect(report.linesRejected).toEqual([
      { rowId: '2', reason: 'Sales must be a decimal number' },
      { rowId: '3', reason: 'Order Date is not a day of the calendar' },
      { rowId: '4', reason: 'Quantity must be a whole number above 0' },
      { rowId: '5', reason: 'Customer ID is empty' },
    ]);
    expect(orders[0]?.total).toBe('10.01');
    expect(customers[0]?.addresses[0]?.postalCode).toBe('07090');
  });

  test('lines of one order that disagree are reported, and the first is believed', () => {
    const { report, orders } = readSuperstore(1, `${header}${line()}\n${line({ 0: '2', 4: 'C-2', 5: 'Bob' })}`);
    expect(report.ordersWithContradictions).toEqual(['O-1']);
    expect(orders[0]?.customerId).toBe('C-1');
    expect(orders[0]?.lines).toHaveLength(2);
  });
});

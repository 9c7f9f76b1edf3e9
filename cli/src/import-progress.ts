import type { ImportReport } from '@tributary/superstore';
import { SingleBar } from 'cli-progress';

/** Shows how far an import is: a bar in a terminal, a line per tenth elsewhere. */
export interface ImportProgress {
  advance(rows: number): void;
  done(): void;
}

export function showImportProgress(label: string, total: number): ImportProgress {
  return process.stdout.isTTY ? bar(label, total) : lines(label, total);
}

function bar(label: string, total: number): ImportProgress {
  const shown = new SingleBar({
    format: `  ${label} [{bar}] {percentage}% | {value}/{total} | {duration_formatted}`,
    barsize: 30,
    hideCursor: true,
  });
  shown.start(total, 0);
  let rows = 0;
  return {
    advance(more) {
      // The number may be a fraction.
      rows += more;
      shown.update(Math.round(rows));
    },
    done: () => shown.stop(),
  };
}

function lines(label: string, total: number): ImportProgress {
  let rows = 0;
  let tenths = 0;
  return {
    advance(more) {
      rows += more;
      const now = Math.floor((Math.round(rows) * 10) / total);
      if (now > tenths) process.stdout.write(`  ${label} ${now * 10}% (${Math.round(rows)}/${total})\n`);
      tenths = now;
    },
    done: () => undefined,
  };
}

/** Describes the result of an import in lines of text. */
export function describeImport(report: ImportReport): string {
  const { linesRead, linesUsed, linesLeftOut, linesRejected, copies } = report;
  const facts = [
    `${count(linesRead)} order lines read: ${count(linesUsed)} imported, ` +
      (linesLeftOut > 0 ? `${count(linesLeftOut)} left out by --scale, ` : '') +
      `${count(linesRejected.length)} unusable` +
      (copies > 1 ? `; ${copies} copies of each` : ''),
    `${count(report.customers)} customers, ${count(report.products)} products, ` +
      `${count(report.orders)} orders with ${count(report.orderLines)} lines`,
    `repaired: ${report.productsWithSeveralNames.length} products with several names (the most used one is imported), ` +
      `${report.postalCodesPadded} postal codes without their leading zero, ` +
      `${count(report.salesRounded)} sales rounded to cents (${report.salesRoundingDifference} in all)`,
    `unchanged: ${report.ordersListingAProductTwice.length} orders that list a product twice`,
    ...(report.ordersWithContradictions.length > 0
      ? [`${report.ordersWithContradictions.length} orders whose lines disagree (the first line is imported)`]
      : []),
    ...linesRejected.slice(0, 5).map(({ rowId, reason }) => `left out row ${rowId}: ${reason}`),
  ];
  return facts.map((fact) => `  ${fact}`).join('\n');
}

function count(value: number): string {
  return value.toLocaleString('en-US');
}

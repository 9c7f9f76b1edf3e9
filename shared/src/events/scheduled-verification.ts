import { setTimeout as sleep } from 'node:timers/promises';
import { type Kysely, sql } from 'kysely';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { type Finding, IncompleteAuditError, inOneLine } from './audit.js';
import { findDifferences, type VerifiableCopy } from './verify.js';

/** The most findings of one audit that are logged. */
const MAX_LOGGED = 20;

/** Checks money and stock; the signal says that the service stops. */
export type Audit<Tables> = (db: Kysely<Tables>, stopped: AbortSignal) => Promise<readonly Finding[]>;

export interface ScheduleOptions<Tables> {
  readonly intervalMs: number;
  /** The first comparison waits for this. */
  readonly after: Promise<unknown>;
  readonly logger: Logger;
  readonly metrics: Registry;
  /** Also checks what no copy is concerned in; left out where there is nothing of that kind. */
  readonly audit?: Audit<Tables> | undefined;
}

/**
 * Compares copies with their owners at intervals, and reports what it finds; it repairs nothing.
 *
 * @param openDatabase opens connections for comparisons and audits, which may take minutes; the signal says that the service
 *   stops
 */
export function scheduleVerification<Tables>(
  db: Kysely<Tables>,
  openDatabase: (stopped: AbortSignal) => Kysely<Tables>,
  copies: readonly VerifiableCopy<Tables>[],
  { intervalMs, after, logger, metrics, audit }: ScheduleOptions<Tables>,
): { stop(): Promise<void> } {
  const found = new Gauge({
    name: 'copy_differences',
    help: 'Rows of the copy that were not what their owner had, when last compared',
    labelNames: ['source'],
    registers: [metrics],
    aggregator: 'max',
  });
  new Gauge({
    name: 'dead_letters',
    help: 'Events that could not be applied, or wait behind one that could not',
    registers: [metrics],
    aggregator: 'max',
    async collect() {
      const { rows } = await sql<{ count: number }>`select count(*) as count from dead_letters`.execute(db);
      this.set(rows[0]?.count ?? 0);
    },
  });
  const stopped = new AbortController();
  const comparing = openDatabase(stopped.signal);
  const runAudit = audit && auditor((signal) => audit(comparing, signal), logger, metrics);
  const pause = () => sleep(intervalMs, undefined, { signal: stopped.signal }).catch(() => undefined);
  const run = async () => {
    const stop = new Promise<void>((resolve) => stopped.signal.addEventListener('abort', () => resolve()));
    await Promise.race([after, stop]);
    while (intervalMs > 0 && !stopped.signal.aborted) {
      await pause();
      if (stopped.signal.aborted) return;
      for (const copy of copies) {
        try {
          const differences = await findDifferences(comparing, copy, stopped.signal);
          found.set({ source: copy.source }, differences.length);
          if (differences.length > 0)
            logger.error({ source: copy.source, rows: differences.length }, 'a copy differs from its owner');
        } catch (error) {
          if (stopped.signal.aborted) return;
          logger.warn(
            { source: copy.source, problem: inOneLine(error) },
            'a copy could not be compared with its owner',
          );
        }
      }
      if (!stopped.signal.aborted) await runAudit?.(stopped.signal);
    }
  };
  const running = run();
  return {
    async stop() {
      stopped.abort();
      await running;
      await comparing.destroy();
    },
  };
}

/** Runs an audit, and reports what it finds. */
function auditor(
  audit: (stopped: AbortSignal) => Promise<readonly Finding[]>,
  logger: Logger,
  metrics: Registry,
): (stopped: AbortSignal) => Promise<void> {
  const found = new Gauge({
    name: 'audit_findings',
    help: 'What did not add up in money and stock, across the services, when last checked',
    registers: [metrics],
    aggregator: 'max',
  });
  const failed = new Gauge({
    name: 'audit_failed',
    help: '1 when a part of the last check of money and stock could not be done, else 0',
    registers: [metrics],
    aggregator: 'max',
  });
  const report = (findings: readonly Finding[]) => {
    for (const finding of findings.slice(0, MAX_LOGGED)) logger.error(finding, 'money or stock does not add up');
  };
  return async (stopped) => {
    try {
      const findings = await audit(stopped);
      found.set(findings.length);
      failed.set(0);
      report(findings);
    } catch (error) {
      if (stopped.aborted) return;
      failed.set(1);
      logger.warn({ problem: inOneLine(error) }, 'money and stock could not be checked');
      // What the last complete check found may still be so; what this one found is so.
      if (error instanceof IncompleteAuditError && error.findings.length > 0) {
        found.set(error.findings.length);
        report(error.findings);
      }
    }
  };
}

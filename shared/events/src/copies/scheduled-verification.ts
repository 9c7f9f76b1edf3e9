import { Fault, type Health, systemTime, type Time } from '@tributary/server';
import type { Kysely } from 'kysely';
import type { Logger } from 'pino';
import { Gauge, type Registry } from 'prom-client';
import { type Finding, IncompleteAuditError, inOneLine } from './audit.js';
import { findDifferences, type VerifiableCopy } from './verify.js';

/** The most findings of one audit that are logged. */
const MAX_LOGGED = 20;

/** The longest interval between comparisons while rows differ. */
const AGAIN_MS = 60_000;

/** Checks money and stock; the signal says that the service stops. */
export type Audit<Tables> = (db: Kysely<Tables>, stopped: AbortSignal) => Promise<readonly Finding[]>;

export interface ScheduleOptions<Tables> {
  readonly intervalMs: number;
  /** The first comparison waits for this. */
  readonly after: Promise<unknown>;
  readonly logger: Logger;
  readonly metrics: Registry;
  readonly health: Health;
  /** Runs after the comparisons; absent in services without such checks. */
  readonly audit?: Audit<Tables> | undefined;
  /** The system's time by default. */
  readonly time?: Time;
}

/**
 * Compares copies with their owners at intervals, and reports what it finds; it repairs nothing.
 *
 * @param openDatabase opens connections for comparisons and audits, which may take minutes; the signal says that the service
 *   stops
 */
export function scheduleVerification<Tables>(
  openDatabase: (stopped: AbortSignal) => Kysely<Tables>,
  copies: readonly VerifiableCopy<Tables>[],
  { intervalMs, after, logger, metrics, health, audit, time = systemTime }: ScheduleOptions<Tables>,
): { stop(): Promise<void> } {
  const found = new Gauge({
    name: 'copy_differences',
    help: 'Rows of the copy that were not what their owner had, when last compared',
    labelNames: ['source'],
    registers: [metrics],
    aggregator: 'max',
  });
  const stopped = new AbortController();
  const comparing = openDatabase(stopped.signal);
  const runAudit = audit && auditor((signal) => audit(comparing, signal), logger, metrics);
  const faults = new Map(copies.map(({ source }) => [source, differenceFault(source, logger, time)]));
  for (const [source, fault] of faults) {
    health.add({ name: `rows of ${source}`, required: false, check: () => fault.cause });
  }
  // While rows differ, a shorter interval shows a repair soon.
  const interval = () =>
    [...faults.values()].some(({ cause }) => cause !== null) ? Math.min(intervalMs, AGAIN_MS) : intervalMs;
  const pause = () => time.sleep(interval(), stopped.signal).catch(() => undefined);
  const run = async () => {
    const stop = new Promise<void>((resolve) => stopped.signal.addEventListener('abort', () => resolve()));
    await Promise.race([after, stop]);
    while (intervalMs > 0 && !stopped.signal.aborted) {
      await pause();
      if (stopped.signal.aborted) return;
      for (const copy of copies) {
        try {
          const differences = await findDifferences(comparing, copy, stopped.signal, time);
          found.set({ source: copy.source }, differences.length);
          const fault = faults.get(copy.source);
          if (differences.length === 0) fault?.worked();
          else {
            fault?.failed(
              `${differences.length} ${differences.length === 1 ? 'row differs' : 'rows differ'} from what ${copy.source} has: "npm run tributary -- verify --repair" repairs them`,
            );
          }
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

const differenceFault = (source: string, logger: Logger, time: Time) =>
  new Fault({
    logger,
    time,
    level: 'error',
    began: 'a copy differs from its owner',
    ended: 'the copy is again what its owner has',
    details: { source },
  });

/** Runs an audit, and reports its findings. */
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
      // The findings of the last complete check may persist; those of this one are certain.
      if (error instanceof IncompleteAuditError && error.findings.length > 0) {
        found.set(error.findings.length);
        report(error.findings);
      }
    }
  };
}

import { type Gap, IncompleteAuditError, inOneLine } from '@tributary/events';
import type { Admin } from '@tributary/subgraph';
import { hasSagas, type OperateOptions, type SagaAdmin, withAdmins } from './operations.js';
import { print } from './output.js';

/** Compares every copy with its owner, and checks money and stock; exit status 1 when something differs or could not be checked. */
export function verify(options: OperateOptions & { readonly repair: boolean }): Promise<void> {
  return withAdmins(options, async (admins) => {
    const failures: string[] = [];
    const others = await checkConsumersWithoutCopies(admins, options.repair, failures);
    const compared = [];
    for (const admin of admins) {
      const of = await admin.verify(options.repair, (copy, error) => {
        failures.push(`the copy of ${copy} could not be compared: ${inOneLine(error)}`);
      });
      compared.push(...of);
    }
    const found = compared;
    const rows = found.map(({ copy, differences, repaired }) => ({
      copy,
      differences: differences.length,
      repaired,
      ids: differences
        .slice(0, 5)
        .map(({ id }) => id)
        .join(' '),
    }));
    const gaps = [...others, ...found.flatMap(({ gap }) => gap ?? [])];
    if (!options.repair) failures.push(...gaps.map((gap) => `${describeGap(gap)} "verify --repair" lets it go on.`));
    // Printed at once: the audit that follows may take minutes.
    if (!options.json && rows.length > 0) print(found, { ...options, rows, empty: '' });
    if (!options.json && options.repair) for (const gap of gaps) process.stdout.write(describeSkip(gap));
    const auditor = admins.find(hasSagas);
    const { findings, failures: unchecked } = auditor ? await auditWith(auditor) : { findings: [], failures: [] };
    failures.push(...unchecked.map((failure) => `money and stock could not be checked in full: ${failure}`));
    if (options.json) {
      print([...found, ...others.map((gap) => ({ gap })), { check: 'money and stock', findings, failures }], {
        ...options,
        rows: [],
        empty: '',
      });
    } else {
      const lines = findings.map(({ service, check, id, problem }) => ({ service, check, id, problem }));
      if (lines.length > 0 || unchecked.length === 0) {
        print(findings, { ...options, rows: lines, empty: 'Money and stock agree.' });
      }
    }
    for (const failure of failures) process.stderr.write(`${failure}\n`);
    const differs = found.some(({ differences, repaired }) => differences.length > repaired);
    if (differs || findings.length > 0 || failures.length > 0) process.exitCode = 1;
  });
}

/** Finds consumers without a copy that missed deleted events; with `repair`, lets them continue after these. */
async function checkConsumersWithoutCopies(
  admins: readonly Admin[],
  repair: boolean,
  failures: string[],
): Promise<Gap[]> {
  const gaps: Gap[] = [];
  for (const admin of admins) {
    for (const source of admin.sources.filter((each) => !admin.copied.includes(each))) {
      try {
        const gap = await admin.findGap(source);
        if (gap && repair) await admin.skipGap(gap);
        if (gap) gaps.push(gap);
      } catch (error) {
        failures.push(`it could not be checked how far ${admin.consumer} has read ${source}: ${inOneLine(error)}`);
      }
    }
  }
  return gaps;
}

const describeGap = ({ consumer, source, after }: Gap) =>
  `${consumer} has stopped at event ${after} of ${source}: ${source} has deleted what follows (EVENT_LOG_RETENTION).`;

/** Describes the consequences of events that a service will never apply. */
function describeSkip(gap: Gap): string {
  const missing =
    {
      orders: `Replies to placements may be among the deleted events. The orders service retries overdue commands; "sagas list --failed" shows those that wait for you, "sagas retry" sends them again.`,
      users: 'Charges and refunds may be among the deleted events. The orders service retries overdue commands.',
      products:
        'Reservations may be among the deleted events; the orders service retries overdue commands. Deleted sales are missing in the order of best-sellers.',
    }[gap.consumer] ?? 'Their changes are missing.';
  return `${describeGap(gap)} It goes on after event ${gap.upTo}. ${missing}\n`;
}

/** Audits. When a part of the audit fails, returns the findings of the others. */
async function auditWith(admin: SagaAdmin) {
  try {
    return { findings: await admin.audit(), failures: [] };
  } catch (error) {
    if (error instanceof IncompleteAuditError) return error;
    return { findings: [], failures: [inOneLine(error)] };
  }
}

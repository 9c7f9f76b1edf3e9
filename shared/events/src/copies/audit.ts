import { openDatabase } from '@tributary/postgres';
import { causeOf } from '@tributary/server';
import type { FastifyInstance } from 'fastify';
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { z } from 'zod';

/** The longest that one statement of an audit or of a comparison may take: it reads whole tables. */
export const AUDIT_TIMEOUT_MS = 300_000;
/** The most findings of one check that are reported. */
export const MAX_FINDINGS = 1000;

/** Something that does not add up. */
export const findingSchema = z.object({
  /** Which rule is broken. */
  check: z.string(),
  /** What it is about: the id of a user, a product or an order. */
  id: z.string(),
  problem: z.string(),
});
export type Finding = Readonly<z.infer<typeof findingSchema>>;

/** A rule that a service's own database keeps at every moment, as a query of what breaks it. */
export interface AuditCheck {
  readonly name: string;
  /** One statement, so that it sees one moment. */
  readonly query: RawBuilder<{ id: string; problem: string }>;
}

/** Runs checks, each in one statement. @returns at most 1,000 findings of each */
export async function runChecks<Tables>(db: Kysely<Tables>, checks: readonly AuditCheck[]): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const { name, query } of checks) {
    const { rows } = await sql<{ id: string; problem: string }>`
      select id, problem from (${query}) as broken order by id limit ${MAX_FINDINGS}
    `.execute(db);
    findings.push(...rows.map(({ id, problem }) => ({ check: name, id, problem })));
  }
  return findings;
}

/** Events that a service could not apply, and what waits behind them: no later event of these orders takes effect. */
export const deadLetterCheck = (aggregateTypes?: readonly string[]): AuditCheck => ({
  name: 'dead letters',
  query: sql`
    select aggregate_id as id,
      format('%s could not apply %s (%s, position %s): %s', consumer, event ->> 'type', source, position, error) as problem
    from dead_letters
    where ${aggregateTypes === undefined ? sql`true` : sql`aggregate_type = any(${aggregateTypes})`}
  `,
});

/** Some parts of an audit failed; what the others found is here all the same. */
export class IncompleteAuditError<Found extends Finding = Finding> extends Error {
  /** What the other parts found. */
  readonly findings: readonly Found[];
  /** For each part that failed, which it is and why, in one line. */
  readonly failures: readonly string[];

  constructor(findings: readonly Found[], failures: readonly string[]) {
    super(failures.join('; '));
    this.name = 'IncompleteAuditError';
    this.findings = findings;
    this.failures = failures;
  }
}

/** An error's message, and its cause's where that says more, in one line. */
export function inOneLine(error: unknown): string {
  const message = causeOf(error);
  const cause = error instanceof Error && error.cause instanceof Error ? causeOf(error.cause) : '';
  return (message.includes(cause) ? message : `${message} (${cause})`).replace(/\s+/g, ' ');
}

/**
 * Connections for audits and comparisons, apart from the service's pools: their statements read whole tables, and may take
 * longer than the time-outs of the others.
 *
 * @param signal ends the statements under way
 */
export function openAuditDatabase<Tables>(url: string, applicationName: string, signal?: AbortSignal): Kysely<Tables> {
  return openDatabase<Tables>({
    url,
    applicationName,
    maxConnections: 2,
    statementTimeoutMs: AUDIT_TIMEOUT_MS,
    connectionTimeoutMs: AUDIT_TIMEOUT_MS,
    ...(signal && { signal }),
  });
}

/** `GET /audit`: runs a service's checks, and answers with what they find. Requests at the same time share one run. */
export function serveAudit<Tables>(app: FastifyInstance, db: Kysely<Tables>, checks: readonly AuditCheck[]): void {
  let running: Promise<Finding[]> | null = null;
  app.get('/audit', () => {
    running ??= runChecks(db, checks).finally(() => {
      running = null;
    });
    return running;
  });
}

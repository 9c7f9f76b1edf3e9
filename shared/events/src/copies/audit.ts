import { openDatabase } from '@tributary/postgres';
import { causeOf } from '@tributary/server';
import type { FastifyInstance } from 'fastify';
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { z } from 'zod';

/** The longest that one statement of an audit or of a comparison may take: it reads whole tables. */
export const AUDIT_TIMEOUT_MS = 300_000;
/** The most findings of one check that are reported. */
export const MAX_FINDINGS = 1000;

/** A violation of a rule. */
export const findingSchema = z.object({
  /** The name of the rule. */
  check: z.string(),
  /** What it is about: the id of a user, a product or an order. */
  id: z.string(),
  problem: z.string(),
});
export type Finding = Readonly<z.infer<typeof findingSchema>>;

/** A rule that a service's own database fulfils at every moment, as a query for violations. */
export interface AuditCheck {
  readonly name: string;
  /** A single statement, so that it reads one snapshot. */
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

/** Finds dead letters: events that could not be applied, and later events of the same aggregates. */
export const deadLetterCheck = (aggregateTypes?: readonly string[]): AuditCheck => ({
  name: 'dead letters',
  query: sql`
    select aggregate_id as id,
      format('%s could not apply %s (%s, position %s): %s', consumer, event ->> 'type', source, position, error) as problem
    from dead_letters
    where ${aggregateTypes === undefined ? sql`true` : sql`aggregate_type = any(${aggregateTypes})`}
  `,
});

/** Some parts of an audit failed; it carries the findings of the others. */
export class IncompleteAuditError<Found extends Finding = Finding> extends Error {
  /** The findings of the other parts. */
  readonly findings: readonly Found[];
  /** For each failed part, its name and the cause, in one line. */
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
 * @param signal cancels running statements
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

/** `GET /audit`: runs a service's checks, and returns their findings. Simultaneous requests share one run. */
export function serveAudit<Tables>(app: FastifyInstance, db: Kysely<Tables>, checks: readonly AuditCheck[]): void {
  let running: Promise<Finding[]> | null = null;
  app.get('/audit', () => {
    running ??= runChecks(db, checks).finally(() => {
      running = null;
    });
    return running;
  });
}

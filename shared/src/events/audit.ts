import type { FastifyInstance } from 'fastify';
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { z } from 'zod';
import { openDatabase } from '../postgres/database.js';

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

/** `GET /audit`: runs a service's checks, and answers with what they find. Requests at the same time share one run. */
export function serveAudit(app: FastifyInstance, databaseUrl: string, checks: readonly AuditCheck[]): void {
  let running: Promise<Finding[]> | null = null;
  const run = async () => {
    // Apart from the service's pools: a check reads whole tables, and may take longer than their time-outs.
    const db = openDatabase<unknown>({
      url: databaseUrl,
      applicationName: 'tributary-audit',
      maxConnections: 1,
      statementTimeoutMs: 0,
    });
    try {
      return await runChecks(db, checks);
    } finally {
      await db.destroy();
    }
  };
  app.get('/audit', () => {
    running ??= run().finally(() => {
      running = null;
    });
    return running;
  });
}

import type { FastifyInstance } from 'fastify';
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { z } from 'zod';

/** The number of ranges into which ids are divided, so that two sides are compared range by range. */
const RANGES = 256;

/** The range of an id, as SQL; the same on both sides. */
const RANGE_OF_ID = "('x' || substr(md5(id), 1, 2))::bit(8)::integer";

/** Counts and checksums by range: what two sides compare first. */
export const rangeSchema = z.object({ range: z.number(), count: z.number(), checksum: z.string() });
export type RangeChecksum = z.infer<typeof rangeSchema>;

/** The present state of an aggregate at its owner, in the form of an event. */
export const aggregateStateSchema = z.object({
  id: z.string(),
  version: z.number(),
  checksum: z.string(),
  type: z.string(),
  data: z.record(z.string(), z.unknown()),
});
export type AggregateState = z.infer<typeof aggregateStateSchema>;

/** The name of a view, or a query in its place. */
export type StateSource = string | RawBuilder<unknown>;

const from = (source: StateSource) => (typeof source === 'string' ? sql.table(source) : sql`(${source}) as states`);

/**
 * Checksums of a view that has `id`, `version` and `checksum` for each row.
 *
 * @returns one entry for each range that has rows
 */
export async function rangeChecksums<Tables>(db: Kysely<Tables>, view: StateSource): Promise<RangeChecksum[]> {
  const { rows } = await sql<RangeChecksum>`
    select ${sql.raw(RANGE_OF_ID)} as range, count(*) as count, md5(string_agg(checksum, '' order by id collate "C")) as checksum
    from ${from(view)} group by 1 order by 1
  `.execute(db);
  return rows;
}

/** The rows of one range of a view. */
export async function rowsOfRange<Tables, Row>(db: Kysely<Tables>, view: StateSource, range: number): Promise<Row[]> {
  const { rows } = await sql<Row>`
    select * from ${from(view)} where ${sql.raw(RANGE_OF_ID)} = ${range} order by id collate "C"
  `.execute(db);
  return rows;
}

/** The most aggregates that one look-up by id may ask for. */
export const MAX_IDS = 100;

const idsBody = z.object({ ids: z.array(z.string()).max(MAX_IDS) });

/** The rows of a view with these ids; an id without a row is left out. */
async function rowsOfIds<Tables, Row>(db: Kysely<Tables>, view: StateSource, ids: readonly string[]): Promise<Row[]> {
  const { rows } = await sql<Row>`select * from ${from(view)} where id = any(${ids})`.execute(db);
  return rows;
}

const rangeParameter = z.object({
  range: z.coerce
    .number()
    .int()
    .min(0)
    .max(RANGES - 1),
});

/**
 * Serves an owner's state for comparison with copies: `GET /aggregates/<type>` has the checksums of all ranges, with `?range=` the
 * aggregates of one; `POST /aggregates/<type>` with `{"ids": […]}` has the aggregates with these ids. `views` has, for
 * each type, a view with the columns of AggregateState, or a query of them. Checksums and ranges read the whole view, so
 * `wholeTables` has a statement timeout that allows for that.
 */
export function serveAggregates<Tables>(
  app: FastifyInstance,
  { db, wholeTables }: { readonly db: Kysely<Tables>; readonly wholeTables: Kysely<Tables> },
  views: Readonly<Record<string, StateSource>>,
): void {
  for (const [type, view] of Object.entries(views)) {
    app.get(`/aggregates/${type}`, async (request, reply) => {
      if ((request.query as { range?: string }).range === undefined) return rangeChecksums(wholeTables, view);
      const parsed = rangeParameter.safeParse(request.query);
      if (!parsed.success) return reply.status(400).send({ message: z.prettifyError(parsed.error) });
      return rowsOfRange(wholeTables, view, parsed.data.range);
    });
    app.post(`/aggregates/${type}`, async (request, reply) => {
      const parsed = idsBody.safeParse(parseJson(request.body));
      if (!parsed.success) return reply.status(400).send({ message: z.prettifyError(parsed.error) });
      return rowsOfIds(db, view, parsed.data.ids);
    });
  }
}

function parseJson(body: unknown): unknown {
  try {
    return JSON.parse(String(body));
  } catch {
    return undefined;
  }
}

import { ApiError } from '@tributary/server';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type Kysely, sql } from 'kysely';
import { z } from 'zod';
import { type StateSource, serveAggregates } from '../copies/aggregates.js';
import { type AuditCheck, openAuditDatabase, serveAudit } from '../copies/audit.js';
import { EventsDeletedError, readEventLog } from '../outbox/outbox.js';
import { EVENT_LOG_PATH, FORMER_EVENT_LOG_PATH } from './event-log-client.js';

const pageSchema = z.object({
  after: z.coerce.number().int().min(0),
  limit: z.coerce.number().int().min(1).max(1000).default(500),
});
const positionSchema = z.object({ position: z.number().int().min(0) });

/**
 * Lets other services read this one's event log over HTTP (they cannot connect to its database), and say how far they are:
 * `GET /event-log?after=&limit=`, `PUT /event-log/consumers/:name` (both also under `/ledger`, for consumers of the release before), `/aggregates/…` to compare copies with, and `GET /audit`. Callers send `authorization: Bearer <secret>` where one is set.
 */
export function serveEventLog<Tables>(
  app: FastifyInstance,
  source: string,
  db: Kysely<Tables>,
  views: Readonly<Record<string, StateSource>>,
  secret: string | undefined,
  audit: { readonly databaseUrl: string; readonly checks: readonly AuditCheck[] },
): void {
  const refuseStrangers = async (request: FastifyRequest) => {
    if (secret !== undefined && request.headers.authorization !== `Bearer ${secret}`) {
      throw Object.assign(new ApiError('FORBIDDEN', 'The event log is for the services of this graph.'), {
        statusCode: 403,
      });
    }
  };

  const stopped = new AbortController();
  const wholeTables = openAuditDatabase<Tables>(audit.databaseUrl, 'tributary-audit', stopped.signal);
  app.addHook('preClose', async () => stopped.abort());
  app.addHook('onClose', () => wholeTables.destroy());
  app.register((guarded, _options, done) => {
    guarded.addHook('onRequest', refuseStrangers);
    serveAggregates(guarded, { db, wholeTables }, views);
    serveAudit(guarded, wholeTables, audit.checks);
    done();
  });

  for (const path of [EVENT_LOG_PATH, FORMER_EVENT_LOG_PATH]) {
    app.get(path, { onRequest: refuseStrangers }, async (request, reply) => {
      const query = pageSchema.safeParse(request.query);
      if (!query.success) return reply.status(400).send({ message: z.prettifyError(query.error) });
      try {
        return await readEventLog(db, source, query.data.after, query.data.limit);
      } catch (error) {
        if (error instanceof EventsDeletedError) return reply.status(410).send({ message: error.message });
        throw error;
      }
    });

    app.put<{ Params: { name: string } }>(
      `${path}/consumers/:name`,
      { onRequest: refuseStrangers },
      async (request, reply) => {
        const body = positionSchema.safeParse(parseJson(request.body));
        if (!body.success) return reply.status(400).send({ message: z.prettifyError(body.error) });
        await sql`
      insert into ledger_consumers (name, position) values (${request.params.name}, ${body.data.position})
      on conflict (name) do update set position = excluded.position, seen_at = now()
    `.execute(db);
        return reply.status(204).send();
      },
    );
  }
}

function parseJson(body: unknown): unknown {
  try {
    return JSON.parse(String(body));
  } catch {
    return undefined;
  }
}

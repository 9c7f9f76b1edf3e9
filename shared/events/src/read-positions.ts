import type { EventBus } from '@tributary/bus';
import {
  FORMER_INVALIDATIONS_HEADER,
  INVALIDATIONS_HEADER,
  MIN_POSITIONS_HEADER,
  POSITIONS_HEADER,
  type ReadPosition,
  readPositions,
  writeInvalidations,
  writePositions,
} from '@tributary/consistency';
import { systemTime, type Time } from '@tributary/server';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import type { EventConsumer } from './consumer/event-consumer.js';
import { assignPositions, readEvents } from './outbox/outbox.js';
import { type InvalidatedBy, invalidationOf } from './relay/invalidation-of.js';

/** How long a response waits for a copy that is behind the client's consistency token. */
const PATIENCE_MS = 250;
const LOOK_MS = 5;
const BATCH = 500;
/** The most events whose invalidations a mutation's response carries; those of more arrive over the event bus. */
const MAX_INVALIDATED = 50;

/** The copies of each service. */
const copies = new WeakMap<FastifyInstance, ReadonlyMap<string, Copy>>();

/** What this file uses of a consumer. */
type Copy = Pick<EventConsumer<unknown>, 'freshness'>;

/** The positions that a request's reads include; noted before it reads anything. */
const seen = new WeakMap<FastifyRequest, Map<string, ReadPosition>>();

function positionsOf(request: FastifyRequest): Map<string, ReadPosition> {
  const positions = seen.get(request) ?? new Map<string, ReadPosition>();
  seen.set(request, positions);
  return positions;
}

const isGraphQL = ({ url }: FastifyRequest) => url.startsWith('/graphql');

/** What a service needs to report its positions. */
export interface PositionsOptions {
  readonly source: string;
  readonly db: Kysely<unknown>;
  readonly bus: EventBus;
  readonly invalidatedBy: InvalidatedBy;
  /** The system's time by default. */
  readonly time?: Time;
}

/**
 * Reports, with each response, the position in the service's own event log up to which it includes the events. Events whose
 * invalidations were sent before the request began were committed by then. The response to a mutation includes the mutation itself,
 * and carries the invalidations up to there.
 */
export function reportPositions(
  app: FastifyInstance,
  { source, db, bus, invalidatedBy, time = systemTime }: PositionsOptions,
): void {
  let lastKnown: number | null = null;
  let stop: () => void = () => undefined;
  app.addHook('onReady', async () => {
    stop = await bus.subscribeToInvalidations(source, {
      onInvalidations: (_source, { to }) => {
        lastKnown = Math.max(lastKnown ?? 0, to);
      },
    });
  });
  app.addHook('onClose', async () => stop());
  app.addHook('preHandler', async (request) => {
    if (isGraphQL(request) && lastKnown !== null)
      positionsOf(request).set(source, { position: lastKnown, ageMs: null });
  });
  app.addHook('onSend', async (request, reply) => {
    if (!isGraphQL(request)) return;
    const positions = positionsOf(request);
    // Also when the word is only in a text: one statement too many does no harm.
    if (typeof request.body === 'string' && /\bmutation\b/.test(request.body)) {
      try {
        const from = positions.get(source)?.position ?? null;
        const at = time.now();
        const to = await assignAllPositions(db);
        positions.set(source, { position: to, ageMs: null });
        notePositions(positions, copies.get(app));
        if (from !== null && to - from <= MAX_INVALIDATED) {
          const events = await readEvents(db, source, from, to, MAX_INVALIDATED);
          const touched = events.map((event) => invalidationOf(event, invalidatedBy));
          const header = writeInvalidations({ from, to, at, touched });
          if (header) reply.header(INVALIDATIONS_HEADER, header).header(FORMER_INVALIDATIONS_HEADER, header);
        }
      } catch (error) {
        // The mutation is committed and gets its response; only its consistency token lacks the new position.
        request.log.warn(
          { err: error },
          'the response to a mutation has no invalidations; caches receive them over the event bus',
        );
      }
    }
    if (positions.size > 0) reply.header(POSITIONS_HEADER, writePositions(positions));
  });
}

/** Assigns a position to every committed event. @returns the last one */
async function assignAllPositions(db: Kysely<unknown>): Promise<number> {
  for (;;) {
    const { assigned, endPosition } = await assignPositions(db, BATCH);
    if (assigned < BATCH) return endPosition;
  }
}

/** Reports the positions of a service's copies, and waits up to 250 ms for a copy that is behind the client's consistency token. */
export function waitForCopies(
  app: FastifyInstance,
  consumers: ReadonlyMap<string, Copy>,
  time: Time = systemTime,
): void {
  copies.set(app, consumers);
  app.addHook('preHandler', async (request) => {
    if (!isGraphQL(request)) return;
    const required = request.headers[MIN_POSITIONS_HEADER];
    if (typeof required === 'string') await reach(consumers, readPositions(required), time);
    notePositions(positionsOf(request), consumers);
  });
}

function notePositions(positions: Map<string, ReadPosition>, consumers: ReadonlyMap<string, Copy> | undefined): void {
  for (const [source, consumer] of consumers ?? []) {
    const { position, ageMs } = consumer.freshness;
    positions.set(source, { position, ageMs });
  }
}

async function reach(
  consumers: ReadonlyMap<string, Copy>,
  required: ReadonlyMap<string, ReadPosition>,
  time: Time,
): Promise<void> {
  const isBehind = () =>
    [...required].some(([source, { position }]) => (consumers.get(source)?.freshness.position ?? position) < position);
  const until = time.monotonic() + PATIENCE_MS;
  while (isBehind() && time.monotonic() < until) await time.sleep(LOOK_MS);
}

import { z } from 'zod';

/** What happened to one aggregate, as other services hear of it. Times are ISO 8601 in UTC. */
export const eventSchema = z.object({
  id: z.string(),
  /** The service that owns the aggregate. */
  source: z.string(),
  type: z.string(),
  /** Version of this type's `data`; grows when its shape changes. */
  schemaVersion: z.number().int(),
  aggregateType: z.string(),
  aggregateId: z.string(),
  /** The version that the aggregate has through this event; grows by one with each of its events. */
  aggregateVersion: z.number().int(),
  occurredAt: z.string(),
  /** The client request that it all began with. */
  correlationId: z.string().nullable(),
  /** The event or command that led to this one. */
  causationId: z.string().nullable(),
  /** W3C trace context. */
  traceparent: z.string().nullable(),
  data: z.record(z.string(), z.unknown()),
});

/** An event with its place in the owner's event log: 1, 2, 3, … without gaps, in the order of commits. */
export const loggedEventSchema = eventSchema.extend({ position: z.number().int().positive() });

export type LoggedEvent = Readonly<z.infer<typeof loggedEventSchema>>;

/** Where a command came from, for the events that it causes. */
export interface Origin {
  readonly correlationId: string | null;
  readonly traceparent: string | null;
  /** The event that led to it; left out when it came from a client. */
  readonly causationId?: string | null;
}

/** The origin of what an event leads to. */
export function causedBy({ id, correlationId, traceparent }: LoggedEvent): Origin {
  return { correlationId, traceparent, causationId: id };
}

/** The command came from nowhere in particular: an import, a test. */
export const NO_ORIGIN: Origin = { correlationId: null, traceparent: null };

/**
 * Whether the owner has erased what is personal in an event's aggregate, in this event and in all before it. So the aggregate is
 * deleted, or the event that deletes it follows, and what came before has no meaning any more.
 */
export const isErased = ({ data }: Pick<LoggedEvent, 'data'>) => data.erased === true;

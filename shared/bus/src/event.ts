import { z } from 'zod';

/** A change of one aggregate, as it is published to other services. Times are ISO 8601 in UTC. */
export const eventSchema = z.object({
  id: z.string(),
  /** The service that owns the aggregate. */
  source: z.string(),
  type: z.string(),
  /** Version of this type's `data`; grows when its shape changes. */
  schemaVersion: z.number().int(),
  aggregateType: z.string(),
  aggregateId: z.string(),
  /** The aggregate's version after this event; grows by one with each of its events. */
  aggregateVersion: z.number().int(),
  occurredAt: z.string(),
  /** The client request that caused it, directly or through other events. */
  correlationId: z.string().nullable(),
  /** The event or command that caused this one. */
  causationId: z.string().nullable(),
  /** W3C trace context. */
  traceparent: z.string().nullable(),
  data: z.record(z.string(), z.unknown()),
});

/** An event with its position in the owner's event log: 1, 2, 3, … without gaps, in the order of commits. */
export const loggedEventSchema = eventSchema.extend({ position: z.number().int().positive() });

export type LoggedEvent = Readonly<z.infer<typeof loggedEventSchema>>;

/** What caused a command; it is recorded with the events of the command. */
export interface Origin {
  readonly correlationId: string | null;
  readonly traceparent: string | null;
  /** The event that caused it; absent when a client sent the command. */
  readonly causationId?: string | null;
}

/** The origin of the commands that an event causes. */
export function causedBy({ id, correlationId, traceparent }: LoggedEvent): Origin {
  return { correlationId, traceparent, causationId: id };
}

/** The origin of a command without a cause: of an import or a test. */
export const NO_ORIGIN: Origin = { correlationId: null, traceparent: null };

/**
 * Whether the owner has erased the personal data of an event's aggregate, in this event and all earlier ones. The aggregate is
 * deleted, by this event or a later one, so earlier events are obsolete.
 */
export const isErased = ({ data }: Pick<LoggedEvent, 'data'>) => data.erased === true;

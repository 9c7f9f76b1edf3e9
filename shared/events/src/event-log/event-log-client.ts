import { loggedEventSchema } from '@tributary/bus';
import { anySignal, systemTime, type Timers, timeoutSignal } from '@tributary/server';
import { z } from 'zod';
import { type AggregateState, aggregateStateSchema, type RangeChecksum, rangeSchema } from '../copies/aggregates.js';
import { AUDIT_TIMEOUT_MS, type Finding, findingSchema } from '../copies/audit.js';
import { type EventLogPage, EventsDeletedError } from '../outbox/outbox.js';

/** Where a service serves its event log. */
export const EVENT_LOG_PATH = '/event-log';
/** The path in the release before; owners still serve it. */
export const FORMER_EVENT_LOG_PATH = '/ledger';

const TIMEOUT_MS = 5000;
const pageSchema = z.object({ head: z.number(), more: z.boolean(), events: z.array(loggedEventSchema) });

/** The port through which a consumer reads another service's event log. */
export interface EventLog {
  /** @throws EventsDeletedError when retention has deleted the events, or the reason of `signal` when it ends the request */
  read(after: number, limit: number, signal?: AbortSignal): Promise<EventLogPage>;
  /** Reports to the owner what a consumer has applied, so that retention keeps the rest; `signal` ends the wait. */
  reportPosition(consumer: string, position: number, signal?: AbortSignal): Promise<void>;
}

/** Another service's event log, and the present state of its aggregates to compare copies with. */
export interface EventLogClient extends EventLog {
  /** Checksums of all that the owner has of a type, by range. It may take minutes; `signal` ends the wait. */
  rangeChecksums(aggregateType: string, signal?: AbortSignal): Promise<RangeChecksum[]>;
  /** What the owner has of a type in one range. It may take minutes; `signal` ends the wait. */
  aggregates(aggregateType: string, range: number, signal?: AbortSignal): Promise<AggregateState[]>;
  /** What the owner has of a type under these ids, at most 100 of them; an unknown id is left out. */
  aggregatesById(
    aggregateType: string,
    ids: readonly string[],
    timeoutMs?: number,
    signal?: AbortSignal,
  ): Promise<AggregateState[]>;
  /** What does not add up in the owner's database. It may take minutes; `signal` ends the wait. */
  audit(signal?: AbortSignal): Promise<Finding[]>;
}

/** Reads the event log of the service at `url` over HTTP. */
export function eventLogClient(url: string, secret: string | undefined, timers: Timers = systemTime): EventLogClient {
  /** @returns the answer's body; undefined when it has none */
  const call = async (path: string, init: RequestInit = {}, timeoutMs = TIMEOUT_MS): Promise<unknown> => {
    const headers = { 'content-type': 'application/json', ...(secret && { authorization: `Bearer ${secret}` }) };
    const timeout = timeoutSignal(timeoutMs, timers);
    const either = anySignal(init.signal ? [init.signal, timeout.signal] : [timeout.signal]);
    try {
      const response = await fetch(url + path, { ...init, headers, signal: either.signal }).catch((error: unknown) => {
        throw unreachable(url, error, timeout.signal.aborted ? timeoutMs : null);
      });
      if (response.status === 410)
        throw new EventsDeletedError(((await response.json()) as { message: string }).message);
      if (!response.ok) throw new UnexpectedStatusError(url + path, response.status);
      return response.status === 204 ? undefined : await response.json();
    } finally {
      timeout.end();
      either.end();
    }
  };
  let eventLogPath = EVENT_LOG_PATH;
  /** An owner of the release before serves the event log only under its former path. */
  const callEventLog = async (path: string, init: RequestInit): Promise<unknown> => {
    try {
      return await call(eventLogPath + path, init);
    } catch (error) {
      if (!(error instanceof UnexpectedStatusError) || error.status !== 404) throw error;
    }
    eventLogPath = eventLogPath === EVENT_LOG_PATH ? FORMER_EVENT_LOG_PATH : EVENT_LOG_PATH;
    return call(eventLogPath + path, init);
  };
  const readWholeTable = (path: string, signal: AbortSignal | undefined): Promise<unknown> =>
    call(path, { signal: signal ?? null }, AUDIT_TIMEOUT_MS);
  return {
    async read(after, limit, signal) {
      return pageSchema.parse(await callEventLog(`?after=${after}&limit=${limit}`, signal ? { signal } : {}));
    },
    async reportPosition(consumer, position, signal) {
      await callEventLog(`/consumers/${encodeURIComponent(consumer)}`, {
        method: 'PUT',
        body: JSON.stringify({ position }),
        signal: signal ?? null,
      });
    },
    async rangeChecksums(aggregateType, signal) {
      return z.array(rangeSchema).parse(await readWholeTable(`/aggregates/${aggregateType}`, signal));
    },
    async aggregates(aggregateType, range, signal) {
      const rows = await readWholeTable(`/aggregates/${aggregateType}?range=${range}`, signal);
      return z.array(aggregateStateSchema).parse(rows);
    },
    async aggregatesById(aggregateType, ids, timeoutMs, signal) {
      const init = { method: 'POST', body: JSON.stringify({ ids }), signal: signal ?? null };
      return z.array(aggregateStateSchema).parse(await call(`/aggregates/${aggregateType}`, init, timeoutMs));
    },
    async audit(signal) {
      return z.array(findingSchema).parse(await readWholeTable('/audit', signal));
    },
  };
}

class UnexpectedStatusError extends Error {
  override readonly name = 'UnexpectedStatusError';
  readonly status: number;

  constructor(url: string, status: number) {
    super(`${url.split('?')[0]} answered ${status}.`);
    this.status = status;
  }
}

/** Names the service that did not answer, and the cause. @param timeoutMs how long it had, when that is why */
function unreachable(url: string, error: unknown, timeoutMs: number | null): Error {
  const { message, cause } = error as Error & { cause?: NodeJS.ErrnoException };
  const why =
    timeoutMs === null ? (cause?.code ?? cause?.message ?? message) : `no answer within ${timeoutMs / 1000} s`;
  return new Error(`${url} cannot be reached: ${why}`);
}

import { AckPolicy, DeliverPolicy, type JetStreamManager, nanos, StorageType } from 'nats';
import type { LoggedEvent } from '../event.js';

/** Redelivered when not acknowledged within; longer than a batch takes. */
const ACK_WAIT_MS = 30_000;
/** The stream is a carrier, not the archive: what is older is read from the event log. */
const MAX_AGE_MS = 24 * 3_600_000;
/** The most events that were delivered to one consumer and not yet acknowledged. */
export const MAX_IN_FLIGHT = 1000;

const STREAM_NOT_FOUND = 10_059;
const CONSUMER_NOT_FOUND = 10_014;

export function streamOf(source: string): string {
  return `tributary_${source}`;
}

/** One subject per aggregate. Ids are encoded: a subject's parts may hold neither dots nor spaces nor wildcards. */
export function subjectOf({
  source,
  aggregateType,
  aggregateId,
}: Pick<LoggedEvent, 'source' | 'aggregateType' | 'aggregateId'>): string {
  return `tributary.events.${source}.${aggregateType}.${Buffer.from(aggregateId).toString('base64url')}`;
}

/** Makes the stream of a source, or brings it to the present settings. */
export async function ensureStream(manager: JetStreamManager, source: string): Promise<void> {
  const config = {
    name: streamOf(source),
    subjects: [`tributary.events.${source}.>`],
    storage: StorageType.File,
    max_age: nanos(MAX_AGE_MS),
    duplicate_window: nanos(120_000),
  };
  try {
    await manager.streams.update(config.name, config);
  } catch (error) {
    if (!isMissing(error, STREAM_NOT_FOUND)) throw error;
    await manager.streams.add(config);
  }
}

/** Makes a durable consumer, or brings it to the present settings. */
export async function ensureConsumer(manager: JetStreamManager, stream: string, durable: string): Promise<void> {
  const config = { ack_wait: nanos(ACK_WAIT_MS), max_ack_pending: MAX_IN_FLIGHT };
  try {
    await manager.consumers.update(stream, durable, config);
  } catch (error) {
    if (!isMissing(error, CONSUMER_NOT_FOUND)) throw error;
    await manager.consumers.add(stream, {
      ...config,
      durable_name: durable,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
    });
  }
}

function isMissing(error: unknown, errorCode: number): boolean {
  return (error as { api_error?: { err_code?: number } }).api_error?.err_code === errorCode;
}

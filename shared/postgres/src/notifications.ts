import { setTimeout as sleep } from 'node:timers/promises';
import { anySignal, unlessAborted } from '@tributary/server';
import pg from 'pg';
import { destroySocket } from './connections.js';

const RETRY_MS = 500;
const CONNECTION_TIMEOUT_MS = 3000;
/** How often the connection is checked, and how long the check may take. */
const CHECK_INTERVAL_MS = 3000;
const CHECK_TIMEOUT_MS = 2000;
const STOP_TIMEOUT_MS = 2000;
const KEEP_ALIVE_AFTER_MS = 10_000;

export interface NotificationsOptions {
  readonly url: string;
  /** Shown in PostgreSQL's list of sessions. */
  readonly applicationName: string;
  readonly channel: string;
  readonly onPayload: (payload: string) => void;
  /** Called when listening begins, also after a reconnect: earlier notifications were missed. */
  readonly onListening: () => void;
}

/**
 * Listens to a channel of a database on a connection of its own, and again when that breaks or no longer answers, which is noticed
 * within 5 s. @returns how to stop, which takes at most 2 s
 */
export function listenToNotifications(options: NotificationsOptions): () => Promise<void> {
  const stopped = new AbortController();
  const running = listenRepeatedly(options, stopped.signal);
  return async () => {
    stopped.abort();
    await unlessAborted(running, AbortSignal.timeout(STOP_TIMEOUT_MS)).catch(() => undefined);
  };
}

async function listenRepeatedly(options: NotificationsOptions, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await listen(options, signal);
    await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** Listens on one connection until that breaks or the signal is aborted. */
async function listen(
  { url, applicationName, channel, onPayload, onListening }: NotificationsOptions,
  signal: AbortSignal,
): Promise<void> {
  const client = new pg.Client({
    connectionString: url,
    application_name: applicationName,
    connectionTimeoutMillis: CONNECTION_TIMEOUT_MS,
    query_timeout: CHECK_TIMEOUT_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_AFTER_MS,
  });
  const listening = anySignal([signal]);
  const over = listening.signal;
  client.on('error', () => listening.end());
  client.on('end', () => listening.end());
  client.on('notification', ({ payload = '' }) => onPayload(payload));
  try {
    await unlessAborted(client.connect(), over);
    await unlessAborted(client.query(`listen ${client.escapeIdentifier(channel)}`), over);
    onListening();
    while (!over.aborted) {
      await sleep(CHECK_INTERVAL_MS, undefined, { signal: over });
      await unlessAborted(client.query('select 1'), over);
    }
  } catch {
    // Stopped, or the database does not answer, which `DatabaseWatch` reports.
  } finally {
    listening.end();
    destroySocket(client);
  }
}

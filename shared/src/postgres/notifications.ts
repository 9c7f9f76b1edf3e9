import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';

const RETRY_MS = 500;

export interface NotificationsOptions {
  readonly url: string;
  /** Shown in PostgreSQL's list of sessions. */
  readonly applicationName: string;
  readonly channel: string;
  readonly onPayload: (payload: string) => void;
  /** Listening began, or began anew: what was told before that moment was missed. */
  readonly onListening: () => void;
}

/** Listens to a channel of a database on a connection of its own, and again when that breaks. @returns how to stop */
export function listenToNotifications(options: NotificationsOptions): () => Promise<void> {
  const stopped = new AbortController();
  const running = listenAgainAndAgain(options, stopped.signal);
  return async () => {
    stopped.abort();
    await running;
  };
}

async function listenAgainAndAgain(
  { url, applicationName, channel, onPayload, onListening }: NotificationsOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const client = new pg.Client({
      connectionString: url,
      application_name: applicationName,
      connectionTimeoutMillis: 5000,
      keepAlive: true,
    });
    const over = new Promise<void>((resolve) => {
      client.on('error', () => resolve());
      client.on('end', () => resolve());
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    client.on('notification', ({ payload = '' }) => onPayload(payload));
    try {
      await client.connect();
      await client.query(`listen ${client.escapeIdentifier(channel)}`);
      onListening();
      await over;
    } catch {
      // The database is down; whoever asks it otherwise says so.
    } finally {
      await client.end().catch(() => undefined);
    }
    await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
  }
}

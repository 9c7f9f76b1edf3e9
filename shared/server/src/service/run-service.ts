import { type Logger, pino } from 'pino';
import type { z } from 'zod';
import type { serveSettings } from '../config/serve-settings.js';
import type { HttpService } from '../http/http-service.js';
import { logOutput } from '../process/log-output.js';
import { privateLogs } from '../process/log-privacy.js';
import { isOneOfSeveral, reportServing, serveInProcesses } from '../process/processes.js';
import { END_MS, Shutdown } from './shutdown.js';

/** A logger that writes JSON lines to standard output, without secrets and data of users. */
export function createLogger(name: string, level: string): Logger {
  return pino({ ...privateLogs, name, level }, logOutput(1));
}

/** A service, and a promise that it waits for before it is ready. */
export type Served = Pick<HttpService, 'listen' | 'close'> & { readonly ready?: Promise<unknown> };

/**
 * Serves until SIGTERM or SIGINT, or until an exception that nothing handled; then it drains and ends. The setting
 * PROCESSES is the number of processes.
 */
export async function serve(
  name: string,
  settings: z.infer<z.ZodObject<typeof serveSettings>>,
  create: (logger: Logger) => Promise<Served>,
): Promise<void> {
  const logger = createLogger(name, settings.LOG_LEVEL);
  const endMs = settings.SHUTDOWN_DELAY + END_MS;
  await serveInProcesses({ name, count: settings.PROCESSES, endMs, logger }, async () => {
    const shutdown = new Shutdown(settings.SHUTDOWN_DELAY, logger);
    const service = await create(logger);
    shutdown.closes(service);
    try {
      // A single process listens at once, to report at /health/ready what it waits for; one of several would receive requests.
      if (isOneOfSeveral()) await service.ready;
      await Promise.all([service.listen(), service.ready]);
      reportServing();
    } catch (error) {
      // A service that is closed while it starts fails to start; the shutdown continues.
      if (!shutdown.begun) throw error;
    }
  });
}

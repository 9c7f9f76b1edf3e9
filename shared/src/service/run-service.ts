import { type Logger, pino } from 'pino';
import { ConfigurationError } from '../config/environment.js';
import type { HttpService } from '../http/http-service.js';

/** A logger that writes JSON lines to standard output and leaves out what could hold a secret. */
export function createLogger(name: string, level: string): Logger {
  return pino({
    name,
    level,
    redact: ['*.authorization', '*.password', '*.connectionString', 'req.headers.authorization', 'req.headers.cookie'],
  });
}

/** Ends the process with a plain message when the start fails; a wrong configuration needs no stack trace. */
export async function runOrExit(name: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    const plain = error instanceof ConfigurationError;
    process.stderr.write(`${name}: ${plain ? error.message : error instanceof Error ? error.stack : error}\n`);
    process.exit(1);
  }
}

/** Listens until SIGTERM or SIGINT, then drains and ends the process. */
export async function serveUntilStopped(service: HttpService, logger: Logger): Promise<void> {
  let stopping = false;
  const stop = (signal: NodeJS.Signals) => {
    if (stopping) return;
    stopping = true;
    logger.info({ signal }, 'stopping');
    service.close().then(
      () => process.exit(0),
      (error) => {
        logger.error({ err: error }, 'could not stop cleanly');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  await service.listen();
}

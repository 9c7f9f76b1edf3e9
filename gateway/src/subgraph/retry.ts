import type { Interceptor } from './interceptor.js';

/** The connection broke before a response began. */
const BROKEN_CONNECTION = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/** Sends a repeatable request once more when a kept-alive connection broke before its response began. */
export const retryBrokenConnections: Interceptor = (next) => (request, origin) => {
  const sent = next(request, origin);
  if (!request.repeatable) return sent;
  return sent.catch((error) => {
    if (!BROKEN_CONNECTION.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    return next(request, origin);
  });
};

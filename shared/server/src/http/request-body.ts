import type { IncomingMessage } from 'node:http';
import { ApiError } from '../errors/errors.js';

/** The largest request body that is read, in bytes. */
const BODY_LIMIT = 1024 * 1024;
/** How much of a body that is too large is read and discarded, so that the client can read the response. */
const DRAIN_LIMIT = 32 * 1024 * 1024;

/** Reads a body as text. A body that is too large is read to its end (up to 32 MB), or the client could not read the response. */
export function readText(payload: IncomingMessage, done: (error: Error | null, text?: string) => void): void {
  const chunks: Buffer[] = [];
  let size = 0;
  payload.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= BODY_LIMIT) chunks.push(chunk);
    else if (size > DRAIN_LIMIT) {
      payload.removeAllListeners('data');
      done(tooLarge());
    }
  });
  // The client closed the connection, or was too slow: not a fault of the service.
  payload.on('error', (error) => done(Object.assign(error, { statusCode: 400 })));
  payload.on('end', () => {
    if (size > BODY_LIMIT) done(tooLarge());
    else done(null, (chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)).toString('utf8'));
  });
}

function tooLarge(): Error {
  const error = new ApiError('BAD_REQUEST', `The request body is larger than ${BODY_LIMIT} bytes.`, {
    reason: 'BODY_SIZE',
  });
  return Object.assign(error, { statusCode: 413 });
}

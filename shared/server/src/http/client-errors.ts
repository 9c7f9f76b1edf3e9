import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import type { Logger } from 'pino';
import { ApiError } from '../errors/errors.js';

/** What a client is sent when Node cannot read its request, by the error's code; 400 for any other. */
const REFUSALS: Readonly<Record<string, readonly [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'The headers of the request are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'The request was not received in time.'],
};
/** How long the client may take to read the response and close the connection. */
const LINGER_MS = 1000;
const MALFORMED = [400, 'Malformed request: it must be HTTP/1.1.'] as const;

/** Answers requests that never reach a handler, because they are not HTTP, too large or too slow, in the form of every other error. */
export function clientErrorHandler(logger: Logger): (error: NodeJS.ErrnoException, socket: Socket) => void {
  return (error, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const [status, message] = REFUSALS[error.code ?? ''] ?? MALFORMED;
    const requestId = randomUUID();
    logger.debug({ err: error, reqId: requestId }, 'a request could not be read');
    const body = JSON.stringify({ errors: [new ApiError('BAD_REQUEST', message)] });
    const head = [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'content-type: application/json; charset=utf-8',
      `content-length: ${Buffer.byteLength(body)}`,
      `x-request-id: ${requestId}`,
      'connection: close',
    ];
    socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
    socket.setTimeout(LINGER_MS, () => socket.destroy());
  };
}

import type { IncomingHttpHeaders } from 'node:http';
import type { Transform } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib';
import type { Dispatcher, Pool } from 'undici';

/** A complete HTTP response. */
export interface HttpReply {
  readonly status: number;
  readonly text: string;
  /** Size of the body, decompressed. */
  readonly bytes: number;
  readonly headers: IncomingHttpHeaders;
}

/** The response is larger than the limit. */
export class TooLargeError extends Error {}
/** The response was not complete in time. */
export class DeadlineError extends Error {}
/** The request was cancelled. */
export class AbandonedError extends Error {}
/** The response has an unsupported encoding, or is not encoded as it says. */
export class UnreadableError extends Error {}

/**
 * Prefers uncompressed responses: between services in one network, sending bytes costs less than compressing and decompressing them. Responses
 * that a subgraph, or a proxy in front of it, compresses anyway are read.
 */
export const ACCEPT_ENCODING = 'identity, gzip;q=0.5, deflate;q=0.5, br;q=0.5';

export interface PostOptions {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Time limit of the whole request, from the wait for a connection to the last byte. */
  readonly timeoutMs: number;
  /** Size limit of the response, both compressed and decompressed. */
  readonly maxBytes: number;
  readonly signal: AbortSignal | null;
}

/** Posts a body and reads the whole response. Rejects with one of the errors above, or with an error of undici. */
export function post(pool: Pool, options: PostOptions): Promise<HttpReply> {
  return new Promise((resolve, reject) => {
    const request = new PostHandler(options, resolve, reject);
    pool.dispatch({ method: 'POST', path: options.path, headers: options.headers, body: options.body }, request);
  });
}

class PostHandler implements Dispatcher.DispatchHandler {
  readonly #maxBytes: number;
  readonly #resolve: (reply: HttpReply) => void;
  readonly #reject: (error: Error) => void;
  readonly #deadline: NodeJS.Timeout;
  readonly #signal: AbortSignal | null;
  readonly #abort = () => this.#fail(new AbandonedError());
  readonly #chunks: Buffer[] = [];
  #controller: Dispatcher.DispatchController | null = null;
  #encoding = 'identity';
  #decompressor: Transform | null = null;
  #received = 0;
  #failure: Error | null = null;
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #bytes = 0;

  constructor(
    { timeoutMs, maxBytes, signal }: PostOptions,
    resolve: (reply: HttpReply) => void,
    reject: (error: Error) => void,
  ) {
    this.#maxBytes = maxBytes;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#deadline = setTimeout(() => this.#fail(new DeadlineError()), timeoutMs);
    this.#signal = signal;
    signal?.addEventListener('abort', this.#abort, { once: true });
    if (signal?.aborted) this.#abort();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // It may have been cancelled while it waited for a connection.
    if (this.#failure) controller.abort(this.#failure);
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    this.#status = status;
    this.#headers = headers;
    const encoding = headers['content-encoding'];
    this.#encoding = (Array.isArray(encoding) ? encoding.join() : (encoding ?? '')).trim().toLowerCase() || 'identity';
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#failure) return;
    this.#received += chunk.length;
    if (this.#received > this.#maxBytes) this.#fail(new TooLargeError());
    else if (this.#encoding === 'identity') this.#take(chunk);
    else {
      this.#decompressor ??= this.#decompress(chunk);
      this.#decompressor?.write(chunk);
    }
  }

  onResponseEnd(): void {
    if (this.#decompressor) this.#decompressor.end();
    else this.#end();
  }

  #take(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes) this.#fail(new TooLargeError());
    else this.#chunks.push(chunk);
  }

  /** Counts decompressed bytes as they come: a small response that expands without end is aborted at the limit. */
  #decompress(first: Buffer): Transform | null {
    const decompressor = createDecompressor(this.#encoding, first);
    if (!decompressor) {
      this.#fail(new UnreadableError(`answered in the encoding "${this.#encoding}", which is not read`));
      return null;
    }
    decompressor.on('data', (chunk: Buffer) => {
      if (!this.#failure) this.#take(chunk);
    });
    decompressor.on('end', () => this.#end());
    decompressor.on('error', () => this.#fail(new UnreadableError(`answered with what is no ${this.#encoding}`)));
    return decompressor;
  }

  #end(): void {
    this.#settle();
    if (this.#failure) return;
    const [only] = this.#chunks;
    const whole = this.#chunks.length === 1 && only ? only : Buffer.concat(this.#chunks);
    this.#resolve({ status: this.#status, text: whole.toString('utf8'), bytes: this.#bytes, headers: this.#headers });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#settle();
    this.#decompressor?.destroy();
    this.#reject(this.#failure ?? error);
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#settle();
    this.#chunks.length = 0;
    this.#decompressor?.destroy();
    this.#controller?.abort(error);
    this.#reject(error);
  }

  #settle(): void {
    clearTimeout(this.#deadline);
    this.#signal?.removeEventListener('abort', this.#abort);
  }
}

function createDecompressor(encoding: string, first: Buffer): Transform | null {
  switch (encoding) {
    case 'gzip':
    case 'x-gzip':
      return createGunzip();
    case 'deflate':
      // Some servers leave out the header that zlib begins with.
      return ((first[0] ?? 0) & 0x0f) === 8 ? createInflate() : createInflateRaw();
    case 'br':
      return createBrotliDecompress();
    default:
      return null;
  }
}

import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher, Pool } from 'undici';
import type { Abandonment } from '../engine/abandonment.js';

export interface SubgraphReply {
  readonly status: number;
  readonly text: string;
  readonly bytes: number;
  readonly headers: IncomingHttpHeaders;
}

/** The answer is larger than is read. */
export class TooLargeError extends Error {}
/** The answer was not there in time. */
export class DeadlineError extends Error {}
/** Nobody waits for the answer any more. */
export class AbandonedError extends Error {}

export interface PostOptions {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** For everything, from the wait for a connection to the last byte. */
  readonly timeoutMs: number;
  readonly maxBytes: number;
  readonly abandonment: Abandonment | null;
}

/** Posts a body and reads the whole answer. @throws what went wrong: one of the above, or an error of undici's */
export function post(pool: Pool, options: PostOptions): Promise<SubgraphReply> {
  return new Promise((resolve, reject) => {
    const request = new PostHandler(options, resolve, reject);
    pool.dispatch({ method: 'POST', path: options.path, headers: options.headers, body: options.body }, request);
  });
}

class PostHandler implements Dispatcher.DispatchHandler {
  readonly #maxBytes: number;
  readonly #resolve: (reply: SubgraphReply) => void;
  readonly #reject: (error: Error) => void;
  readonly #deadline: NodeJS.Timeout;
  readonly #stay: (() => void) | undefined;
  readonly #chunks: Buffer[] = [];
  #controller: Dispatcher.DispatchController | null = null;
  #failure: Error | null = null;
  #status = 0;
  #headers: IncomingHttpHeaders = {};
  #bytes = 0;

  constructor(
    { timeoutMs, maxBytes, abandonment }: PostOptions,
    resolve: (reply: SubgraphReply) => void,
    reject: (error: Error) => void,
  ) {
    this.#maxBytes = maxBytes;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#deadline = setTimeout(() => this.#fail(new DeadlineError()), timeoutMs);
    this.#stay = abandonment?.listen(() => this.#fail(new AbandonedError()));
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // It may have waited for a connection longer than anybody for the answer.
    if (this.#failure) controller.abort(this.#failure);
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    this.#status = status;
    this.#headers = headers;
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#bytes > this.#maxBytes) this.#fail(new TooLargeError());
    else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    this.#settle();
    if (this.#failure) return;
    const [only] = this.#chunks;
    const whole = this.#chunks.length === 1 && only ? only : Buffer.concat(this.#chunks);
    this.#resolve({ status: this.#status, text: whole.toString('utf8'), bytes: this.#bytes, headers: this.#headers });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.#settle();
    this.#reject(this.#failure ?? error);
  }

  #fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#settle();
    this.#chunks.length = 0;
    this.#controller?.abort(error);
    this.#reject(error);
  }

  #settle(): void {
    clearTimeout(this.#deadline);
    this.#stay?.();
  }
}

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from '../errors/errors.js';

/** The methods of every path, for `Allow`: of responses to OPTIONS, and of refusals of other methods (405). */
export class AllowedMethods {
  readonly #methods = new Map<string, Set<string>>();

  /** Notes the routes of a server, and describes them to OPTIONS requests. */
  track(app: FastifyInstance): void {
    app.addHook('onRoute', ({ url, method }) => {
      const methods = this.#methods.get(url) ?? new Set();
      for (const each of [method].flat()) methods.add(each);
      this.#methods.set(url, methods);
    });
    app.addHook('onRequest', (request, reply, done) => {
      const allowed = request.method === 'OPTIONS' ? this.of(request) : undefined;
      if (allowed !== undefined) reply.header('allow', allowed);
      done();
    });
  }

  /** The methods that are allowed at the path of a request, as `Allow` lists them; undefined where nothing is. */
  of({ url }: FastifyRequest): string | undefined {
    const methods = this.#methods.get(url.split('?')[0] as string);
    return methods && [...methods, 'OPTIONS'].join(', ');
  }

  /** Answers a request with a method that its path does not have. */
  refuse(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    if (request.method === 'OPTIONS') return reply.status(204).send();
    const allowed = this.of(request) as string;
    const message = `Method not allowed: expected one of ${allowed}; got ${request.method}.`;
    return reply
      .status(405)
      .headers({ allow: allowed, 'content-type': 'application/json; charset=utf-8' })
      .send(JSON.stringify({ errors: [new ApiError('BAD_REQUEST', message)] }));
  }
}

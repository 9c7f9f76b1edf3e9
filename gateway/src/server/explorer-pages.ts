import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import { varyWithAccept } from '@tributary/server';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import Negotiator from 'negotiator';

const PAGES = fileURLToPath(new URL('../../dist/pages/', import.meta.url));

const JSON_TYPES = ['application/json', 'application/graphql-response+json'];

const ICON =
  '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#3a86c8" stroke-width="3" stroke-linecap="round"><path d="M5 3c0 6 7 5 7 10v8M19 3c0 6-7 5-7 10"/></svg>';

/**
 * Serves the pages to explore the graph with: Apollo Sandbox at `/`, GraphiQL (which works offline) at `/graphiql`. A browser that
 * opens `/graphql` itself is redirected to GraphiQL.
 */
export async function serveExplorerPages(app: FastifyInstance): Promise<void> {
  if (!existsSync(PAGES)) throw new Error(`The explorer pages are not built (${PAGES}): run "npm run build".`);
  await app.register(fastifyStatic, {
    root: `${PAGES}assets`,
    prefix: '/assets/',
    immutable: true,
    maxAge: '365d',
    index: false,
  });
  for (const [url, file] of [
    ['/', 'sandbox.html'],
    ['/graphiql', 'graphiql.html'],
  ] as const) {
    const html = await readFile(PAGES + file, 'utf8');
    app.get(url, (_request, reply) =>
      reply.type('text/html; charset=utf-8').header('cache-control', 'no-cache').send(html),
    );
  }
  app.get('/favicon.ico', (_request, reply) =>
    reply.type('image/svg+xml').header('cache-control', 'public, max-age=86400').send(ICON),
  );
  app.addHook('onRequest', (request, reply, done) => {
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (isRead && request.url === '/graphql' && prefersHtml(request)) {
      varyWithAccept(reply);
      reply.redirect('/graphiql');
    } else {
      done();
    }
  });
}

/** Browsers prefer HTML for the pages that they open. */
function prefersHtml({ headers }: FastifyRequest): boolean {
  return new Negotiator({ headers }).mediaType([...JSON_TYPES, 'text/html']) === 'text/html';
}

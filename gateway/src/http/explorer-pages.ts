import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';

const PAGES = fileURLToPath(new URL('../../dist/pages/', import.meta.url));

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
    if (request.method === 'GET' && request.url === '/graphql' && prefersHtml(request.headers.accept)) {
      reply.redirect('/graphiql');
    } else {
      done();
    }
  });
}

/** Whether an `accept` header ranks HTML above JSON, as browsers do for the pages that they open. */
function prefersHtml(accept = ''): boolean {
  const qualities = new Map<string, number>();
  for (const range of accept.toLowerCase().split(',')) {
    const [type = '', ...parameters] = range.split(';').map((text) => text.trim());
    qualities.set(type, Number(parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? 1));
  }
  const any = qualities.get('application/*') ?? qualities.get('*/*') ?? 0;
  const json = ['application/json', 'application/graphql-response+json'].map((type) => qualities.get(type) ?? any);
  return (qualities.get('text/html') ?? 0) > Math.max(...json);
}

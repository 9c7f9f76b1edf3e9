import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance } from 'fastify';

const PAGES = fileURLToPath(new URL('../../dist/pages/', import.meta.url));

/** Pages to explore the graph with: Apollo Sandbox at `/`, GraphiQL (which works offline) at `/graphiql`. */
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
}

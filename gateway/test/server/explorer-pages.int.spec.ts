import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startGraph, type TestGraph } from '../../../test/harness/graph.ts';

let graph: TestGraph;
beforeAll(async () => {
  graph = await startGraph();
});
afterAll(() => graph?.stop());

describe.each([
  ['/', 'Apollo Sandbox'],
  ['/graphiql', 'GraphiQL'],
])('the page at %s', (path, title) => {
  test('is HTML, and everything that it loads is served from here', async () => {
    const response = await fetch(graph.urls.gateway + path);
    expect(response.status).toBe(200);
    expect(response.headers.get('content-type')).toContain('text/html');
    const html = await response.text();
    expect(html).toContain(title);
    const loaded = [...html.matchAll(/<(?:script|link)[^>]+(?:src|href)="([^"]+)"/g)].map(([, url]) => url as string);
    expect(loaded.length).toBeGreaterThan(0);
    for (const url of loaded) {
      expect(url).toMatch(/^\/assets\//);
      const asset = await fetch(graph.urls.gateway + url);
      expect(asset.status).toBe(200);
      expect(asset.headers.get('cache-control')).toContain('immutable');
      // Apollo receives no events of the people who open the page.
      if (path === '/' && url.includes('sandbox'))
        expect(await asset.clone().text()).toMatch(/runTelemetry:(!1|false)/);
      // No script from a content delivery network comes in by the back door.
      if (path === '/graphiql')
        expect(await asset.text()).not.toMatch(/https:\/\/(unpkg\.com|cdn\.|esm\.sh|[\w.]*jsdelivr)/);
    }
  });
});

describe('CORS', () => {
  const preflight = (origin: string) =>
    fetch(`${graph.urls.gateway}/graphql`, {
      method: 'OPTIONS',
      headers: {
        origin,
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'content-type,authorization',
        'access-control-request-private-network': 'true',
      },
    });

  test("lets Apollo's hosted Sandbox explore a stack on this machine", async () => {
    const response = await preflight('https://studio.apollographql.com');
    expect(response.status).toBe(204);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'access-control-allow-origin': 'https://studio.apollographql.com',
      'access-control-allow-headers': 'content-type,authorization',
      'access-control-allow-private-network': 'true',
    });
    const answer = await fetch(`${graph.urls.gateway}/graphql`, {
      method: 'POST',
      headers: { origin: 'https://studio.apollographql.com', 'content-type': 'application/json' },
      body: '{"query":"{ categories { name } }"}',
    });
    expect(answer.headers.get('access-control-allow-origin')).toBe('https://studio.apollographql.com');
  });

  test.each(['http://localhost:3000', 'http://127.0.0.1:5173', 'http://[::1]:8080'])(
    'lets a page at %s',
    async (origin) => {
      expect((await preflight(origin)).headers.get('access-control-allow-origin')).toBe(origin);
    },
  );

  test.each(['https://evil.example', 'http://localhost.evil.example', 'http://localhost:80@evil.example', 'null'])(
    'lets no page at %s',
    async (origin) => {
      expect((await preflight(origin)).headers.get('access-control-allow-origin')).toBeNull();
    },
  );
});

import { get } from 'node:http';
import { serverAudits } from 'graphql-http';
import { describe, expect, test } from 'vitest';
import { gatewayOver, subgraph } from '../harness/test-gateway.ts';

const AUDITS = serverAudits({ url: 'http://nowhere.invalid' });

async function endpoint(env: NodeJS.ProcessEnv = {}): Promise<string> {
  const a = await subgraph('type Query { hello: String } type Mutation { change: String }');
  const { url } = await gatewayOver({ a }, env);
  return `${url}/graphql`;
}

/** As a browser asks: fetch of Node says these headers itself. */
function status(url: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    get(url, { headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).once('error', reject);
  });
}

test('there are audits of every strength', () => {
  for (const strength of ['MUST', 'SHOULD', 'MAY']) {
    expect(AUDITS.filter(({ name }) => name.startsWith(strength)).length, strength).toBeGreaterThan(0);
  }
});

test('every audit of GraphQL over HTTP passes', async () => {
  const url = await endpoint();
  const failed: string[] = [];
  for (const audit of serverAudits({ url })) {
    const result = await audit.fn();
    if (result.status !== 'ok') failed.push(`${audit.id} ${audit.name}: ${result.reason}`);
  }
  expect(failed).toEqual([]);
});

const JSON_HEADERS = { 'content-type': 'application/json' };

describe('is refused:', () => {
  test.each([
    ['a batch', { method: 'POST', headers: JSON_HEADERS, body: '[{"query":"{ hello }"}]' }, 400],
    ['a body that is no object', { method: 'POST', headers: JSON_HEADERS, body: '"{ hello }"' }, 400],
    ['a form, as any site can send it', { method: 'POST', body: new URLSearchParams({ query: '{ hello }' }) }, 415],
    ['text, as any site can send it', { method: 'POST', body: '{"query":"{ hello }"}' }, 415],
    [
      'another encoding',
      { method: 'POST', headers: { 'content-type': 'application/json; charset=utf-16' }, body: '{}' },
      415,
    ],
    [
      'a type of answer that is none',
      { method: 'POST', headers: { ...JSON_HEADERS, accept: 'text/html' }, body: '{}' },
      406,
    ],
    ['another method', { method: 'DELETE' }, 405],
    [
      'variables that are a list',
      { method: 'POST', headers: JSON_HEADERS, body: '{"query":"{ hello }","variables":[]}' },
      400,
    ],
  ])('%s', async (_name, init, status) => {
    const response = await fetch(await endpoint(), init);
    expect(response.status).toBe(status);
    const { errors } = (await response.json()) as { errors: { message: string; extensions: { code: string } }[] };
    expect(errors[0]?.extensions.code).toBe('BAD_USER_INPUT');
  });

  test('a mutation over GET, and the client is told how', async () => {
    const response = await fetch(`${await endpoint()}?query=${encodeURIComponent('mutation { change }')}`);
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST');
  });

  test('what a page of another site embeds', async () => {
    const url = `${await endpoint()}?query=${encodeURIComponent('{ hello }')}`;
    expect(await status(url, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' })).toBe(403);
    expect(await status(url, { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' })).toBe(200);
  });
});

test('what cannot be run has the status that the answer type asks for', async () => {
  const url = await endpoint();
  const ask = (accept: string) =>
    fetch(url, { method: 'POST', headers: { ...JSON_HEADERS, accept }, body: '{"query":"{ nothing }"}' });
  expect((await ask('application/json')).status).toBe(200);
  const modern = await ask('application/graphql-response+json, application/json;q=0.9');
  expect(modern.status).toBe(400);
  expect(modern.headers.get('content-type')).toBe('application/graphql-response+json; charset=utf-8');
});

import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import {
  get,
  request as httpRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestOptions,
} from 'node:http';
import { connect } from 'node:net';
import { ERROR_CATALOGUE } from '@tributary/server';
import fc from 'fast-check';
import { serverAudits } from 'graphql-http';
import { describe, expect, test } from 'vitest';
import { type GraphQLAnswer, uncatalogued } from '../../../test/harness/graphql-client.ts';
import { gatewayOver, subgraph } from '../../../test/harness/test-gateway.ts';

const AUDITS = serverAudits({ url: 'http://nowhere.invalid' });

async function endpoint(env: NodeJS.ProcessEnv = {}): Promise<string> {
  const a = await subgraph('type Query { hello: String } type Mutation { change: String }');
  const { url } = await gatewayOver({ a }, env);
  return `${url}/graphql`;
}

/** Sends the headers of a browser; Node's `fetch` sets these headers itself. */
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
const HELLO = { method: 'POST', headers: JSON_HEADERS, body: '{"query":"{ hello }"}' };

describe('is refused with BAD_REQUEST and a message that explains what to do:', () => {
  const post = (body: string, headers: Record<string, string> = {}) => ({
    method: 'POST',
    headers: { ...JSON_HEADERS, ...headers },
    body,
  });
  test.each<[string, RequestInit, number, string]>([
    [
      'a batch',
      post('[{"query":"{ hello }"}]'),
      400,
      'Batching is not supported: send each operation in a request of its own.',
    ],
    ['no JSON', post('{"query":'), 400, 'Malformed request: the body must be JSON.'],
    ['a body that is no object', post('"{ hello }"'), 400, 'Malformed request: the body must be an object.'],
    ['no query', post('{}'), 400, 'Malformed request: "query" is required and must be a string.'],
    [
      'a form, as any site can send it',
      { method: 'POST', body: new URLSearchParams({ query: '{ hello }' }) },
      415,
      'Unsupported media type: "content-type" must be application/json, in UTF-8; got "application/x-www-form-urlencoded;charset=UTF-8".',
    ],
    [
      'text, as any site can send it',
      { method: 'POST', body: '{"query":"{ hello }"}' },
      415,
      'Unsupported media type: "content-type" must be application/json, in UTF-8; got "text/plain;charset=UTF-8".',
    ],
    [
      'another encoding',
      post('{}', { 'content-type': 'application/json; charset=utf-16' }),
      415,
      'Unsupported media type: "content-type" must be application/json, in UTF-8; got "application/json; charset=utf-16".',
    ],
    [
      'a response type that is not offered',
      post('{}', { accept: 'text/html' }),
      406,
      'Not acceptable: responses are application/graphql-response+json or application/json, in UTF-8.',
    ],
    [
      'another method',
      { method: 'DELETE' },
      405,
      'Method not allowed: expected one of GET, POST, HEAD, OPTIONS; got DELETE.',
    ],
    [
      'variables that are a list',
      post('{"query":"{ hello }","variables":[]}'),
      400,
      'Malformed request: "variables" must be an object.',
    ],
  ])('%s', async (_name, init, status, message) => {
    const response = await fetch(await endpoint(), init);
    expect(response.status).toBe(status);
    const answer = (await response.json()) as GraphQLAnswer;
    expect(answer.errors).toMatchObject([{ message, extensions: { code: 'BAD_REQUEST' } }]);
    expect(uncatalogued(answer)).toEqual([]);
    expect(response.headers.get('x-request-id')).toMatch(/^[\w-]{36}$/);
  });

  test('a mutation over GET, and the client learns how', async () => {
    const response = await fetch(`${await endpoint()}?query=${encodeURIComponent('mutation { change }')}`);
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST, OPTIONS');
    expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'BAD_REQUEST' } }] });
  });

  test('what a page of another site embeds', async () => {
    const url = `${await endpoint()}?query=${encodeURIComponent('{ hello }')}`;
    expect(await status(url, { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' })).toBe(403);
    expect(await status(url, { 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' })).toBe(200);
  });
});

test('what cannot be run has the status that the response type has for it', async () => {
  const url = await endpoint();
  const ask = (accept: string) =>
    fetch(url, { method: 'POST', headers: { ...JSON_HEADERS, accept }, body: '{"query":"{ nothing }"}' });
  expect((await ask('application/json')).status).toBe(200);
  const modern = await ask('application/graphql-response+json, application/json;q=0.9');
  expect(modern.status).toBe(400);
  expect(modern.headers.get('content-type')).toBe('application/graphql-response+json; charset=utf-8');
});

describe('accept', () => {
  const JSON_TYPE = 'application/json';
  const RESPONSE_TYPE = 'application/graphql-response+json';

  /** What a request with this header is answered with: a media type, or the status of a refusal. */
  async function answered(url: string, accept: string | string[]): Promise<string | number | undefined> {
    const headers = { ...JSON_HEADERS, accept } as OutgoingHttpHeaders;
    const response = await send(url, { method: 'POST', headers }, '{"query":"{ hello }"}');
    return response.statusCode === 200
      ? response.headers['content-type']?.replace('; charset=utf-8', '')
      : response.statusCode;
  }

  test.each<[string, string | string[], string | number]>([
    ['anything', '*/*', JSON_TYPE],
    ['JSON', 'application/json', JSON_TYPE],
    ['nothing', '', JSON_TYPE],
    ['the usual of Apollo Client', `${RESPONSE_TYPE},${JSON_TYPE};q=0.9`, RESPONSE_TYPE],
    [
      'the usual of urql',
      `${RESPONSE_TYPE}, application/graphql+json, ${JSON_TYPE}, text/event-stream, multipart/mixed`,
      RESPONSE_TYPE,
    ],
    ['the first of two that are liked equally', `${JSON_TYPE}, ${RESPONSE_TYPE}`, JSON_TYPE],
    ['what is named rather than anything', `*/*, ${RESPONSE_TYPE}`, RESPONSE_TYPE],
    ['JSON as the last resort', `${JSON_TYPE};q=0.1, */*`, RESPONSE_TYPE],
    ['a type that is excluded', `${JSON_TYPE};q=0, */*;q=0.1`, RESPONSE_TYPE],
    ['all that is excluded', 'application/*;q=0, */*', 406],
    ['all but one that is excluded', `application/*;q=0, ${JSON_TYPE};q=0.001`, JSON_TYPE],
    ['a character set', `${JSON_TYPE}; charset=UTF-8`, JSON_TYPE],
    ['a quoted character set', `${JSON_TYPE};charset="utf-8"`, JSON_TYPE],
    ['another character set', `${JSON_TYPE}; charset=latin1`, 406],
    ['another character set, besides', `${JSON_TYPE}; charset=latin1, ${RESPONSE_TYPE};q=0.1`, RESPONSE_TYPE],
    ['upper case', 'APPLICATION/JSON', JSON_TYPE],
    ['several headers', [`${JSON_TYPE};q=0.5`, RESPONSE_TYPE], RESPONSE_TYPE],
    ['an image', 'image/*', 406],
  ])('%s', async (_what, accept, expected) => {
    expect(await answered(await endpoint(), accept)).toBe(expected);
  });

  test('is followed as RFC 9110 has it: the most specific range decides, then the highest quality', async () => {
    const url = await endpoint();
    const range = fc.record({
      type: fc.constantFrom(JSON_TYPE, RESPONSE_TYPE, 'application/*', '*/*', 'text/html', 'text/*'),
      charset: fc.boolean(),
      quality: fc.constantFrom(null, '0', '0.0', '0.1', '0.5', '0.999', '1', '1.000'),
      space: fc.constantFrom('', ' '),
      upper: fc.boolean(),
    });
    const written = fc.array(range, { minLength: 1, maxLength: 5 }).map((ranges) =>
      ranges.map(({ type, charset, quality, space, upper }) => {
        const hasCharset = charset && !type.includes('*');
        const text = [
          upper ? type.toUpperCase() : type,
          ...(hasCharset ? [`${space}charset=utf-8`] : []),
          ...(quality === null ? [] : [`${space}q=${quality}`]),
        ].join(`${space};`);
        const specificity = type === '*/*' ? 0 : type.endsWith('/*') ? 1 : hasCharset ? 3 : 2;
        return { type, specificity, quality: Number(quality ?? 1), text: `${space}${text}` };
      }),
    );
    const qualityOf = (offered: string, ranges: readonly { type: string; specificity: number; quality: number }[]) =>
      ranges
        .filter(({ type }) => type === offered || type === 'application/*' || type === '*/*')
        .sort((a, b) => b.specificity - a.specificity || b.quality - a.quality)[0]?.quality ?? 0;
    await fc.assert(
      fc.asyncProperty(written, async (ranges) => {
        const qualities = new Map([JSON_TYPE, RESPONSE_TYPE].map((type) => [type, qualityOf(type, ranges)]));
        const best = Math.max(...qualities.values());
        const allowed = best === 0 ? [406] : [...qualities.keys()].filter((type) => qualities.get(type) === best);
        expect(allowed).toContain(await answered(url, ranges.map(({ text }) => text).join()));
      }),
      { seed: 16, numRuns: 200 },
    );
  });

  test('that is no list of media ranges is answered or refused, and nothing breaks', async () => {
    const url = await endpoint();
    const words = fc.constantFrom(
      'application/json',
      '*/*',
      'a',
      '/',
      ';',
      ',',
      'q=',
      '1',
      '"',
      '=',
      ' ',
      '\\',
      'q=2',
      '-',
    );
    await fc.assert(
      fc.asyncProperty(fc.array(words, { maxLength: 20 }), async (parts) => {
        expect([JSON_TYPE, RESPONSE_TYPE, 406]).toContain(await answered(url, parts.join('')));
      }),
      { seed: 16, numRuns: 100 },
    );
  });
});

test('every response of /graphql varies with Accept, and with Origin where that is sent', async () => {
  const url = await endpoint();
  const query = (text: string) => `${url}?query=${encodeURIComponent(text)}`;
  for (const [path, init] of [
    [url, HELLO],
    [url, { ...HELLO, body: '{"query":"{ nothing }"}' }],
    [url, { ...HELLO, body: '[]' }],
    [url, { ...HELLO, headers: { ...JSON_HEADERS, accept: 'text/html' } }],
    [query('{ hello }'), {}],
    [query('{ hello }'), { method: 'HEAD' }],
    [query('{ nothing }'), {}],
    [query('mutation { change }'), {}],
  ] as const) {
    const { headers } = await fetch(path, init);
    expect(headers.get('vary'), JSON.stringify([path, init])).toBe('Origin, Accept');
  }
});

test('a GET with the hash of a persisted query and an empty query receives PERSISTED_QUERY_NOT_SUPPORTED', async () => {
  const hash = JSON.stringify({ persistedQuery: { version: 1, sha256Hash: 'ab' } });
  const response = await fetch(`${await endpoint()}?query=&extensions=${encodeURIComponent(hash)}`);
  expect(await response.json()).toMatchObject({ errors: [{ extensions: { code: 'PERSISTED_QUERY_NOT_SUPPORTED' } }] });
});

test('an unknown expectation is ignored', async () => {
  const headers = { ...JSON_HEADERS, expect: 'bogus' };
  const response = await send(await endpoint(), { method: 'POST', headers }, HELLO.body);
  expect([response.statusCode, response.headers['x-request-id']]).toEqual([200, expect.any(String)]);
});

describe('a GET again', () => {
  test.each([
    ['with its tag', (tag: string) => tag, 304],
    ['with its tag as a weak one', (tag: string) => `W/${tag}`, 304],
    ['with its tag among others', (tag: string) => `"other", W/"another" , ${tag}`, 304],
    ['with any tag', () => '*', 304],
    ['with another tag', () => '"other"', 200],
  ])('%s', async (_what, tags, expected) => {
    const url = `${await endpoint()}?query=${encodeURIComponent('{ hello }')}`;
    const tag = (await fetch(url)).headers.get('etag') as string;
    const again = await fetch(url, { headers: { 'if-none-match': tags(tag) } });
    expect(again.status).toBe(expected);
    expect(again.headers.get('etag')).toBe(tag);
    expect(again.headers.get('vary')).toBe('Origin, Accept');
    expect(again.headers.get('x-request-id')).not.toBeNull();
  });
});

describe('methods', () => {
  test('HEAD is GET without the body', async () => {
    const url = await endpoint();
    const root = url.replace('/graphql', '');
    for (const path of [
      `${url}?query=${encodeURIComponent('{ hello }')}`,
      `${url}?query=${encodeURIComponent('{ nothing }')}`,
      `${url}?query=${encodeURIComponent('mutation { change }')}`,
      url,
      `${root}/health/ready`,
      `${root}/health/live`,
      `${root}/metrics`,
      `${root}/graphiql`,
      `${root}/nowhere`,
    ]) {
      const get = await fetch(path);
      const head = await fetch(path, { method: 'HEAD' });
      expect(head.status, path).toBe(get.status);
      expect(await head.text()).toBe('');
      expect(head.headers.get('content-type'), path).toBe(get.headers.get('content-type'));
      const length = Number(head.headers.get('content-length'));
      // Times and metrics change between the two.
      if (/metrics|health/.test(path)) expect(length, path).toBeGreaterThan(10);
      else expect(length, path).toBe((await get.arrayBuffer()).byteLength);
    }
  });

  test('a method that a path does not have is 405 with those it has, and OPTIONS lists them', async () => {
    const url = await endpoint();
    const root = url.replace('/graphql', '');
    for (const [path, allow] of [
      [url, 'GET, POST, HEAD, OPTIONS'],
      [`${root}/health/live`, 'GET, HEAD, OPTIONS'],
      [`${root}/graphiql`, 'GET, HEAD, OPTIONS'],
    ] as const) {
      for (const method of ['PUT', 'DELETE', 'PATCH']) {
        const refused = await fetch(path, { method });
        expect([refused.status, refused.headers.get('allow')], `${method} ${path}`).toEqual([405, allow]);
      }
      const options = await fetch(path, { method: 'OPTIONS' });
      expect([options.status, options.headers.get('allow')], path).toEqual([204, allow]);
    }
  });
});

describe('x-request-id', () => {
  test('is on every response: that of the client, or a new one', async () => {
    const url = await endpoint();
    const root = url.replace('/graphql', '');
    const get = `${url}?query=${encodeURIComponent('{ hello }')}`;
    const etag = (await fetch(get)).headers.get('etag') as string;
    const preflight = { origin: 'http://localhost:3000', 'access-control-request-method': 'POST' };
    for (const [path, init, expected] of [
      [url, HELLO, 200],
      [get, { headers: { 'if-none-match': etag } }, 304],
      [get, { method: 'HEAD' }, 200],
      [url, { method: 'OPTIONS', headers: preflight }, 204],
      [url, { method: 'DELETE' }, 405],
      [url, { ...HELLO, body: 'x'.repeat(2_000_000) }, 413],
      [`${root}/nowhere`, {}, 404],
      [`${root}/%zz`, {}, 400],
      [`${root}/graphiql`, {}, 200],
      [`${root}/health/live`, {}, 200],
      [`${root}/metrics`, {}, 200],
    ] as const) {
      const what = `${'method' in init ? init.method : 'GET'} ${path}`;
      const own = await fetch(path, init);
      expect([own.status, own.headers.get('x-request-id')], what).toEqual([
        expected,
        expect.stringMatching(/^[0-9a-f-]{36}$/),
      ]);
      const headers = { ...('headers' in init ? init.headers : {}), 'x-request-id': 'the-clients' };
      expect((await fetch(path, { ...init, headers })).headers.get('x-request-id'), what).toBe('the-clients');
    }
  });

  test.each([
    ['no HTTP', 'HELLO\r\n\r\n', 400],
    ['headers that are too large', `GET / HTTP/1.1\r\nhost: a\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
  ])('is on the response to %s, which is an error like every other', async (_what, text, expected) => {
    const { port } = new URL(await endpoint());
    for (const { address: host } of await lookup('localhost', { all: true })) {
      const socket = connect({ host, port: Number(port) });
      const chunks: string[] = [];
      socket.setEncoding('utf8').on('data', (chunk) => chunks.push(String(chunk)));
      socket.write(text);
      await once(socket, 'close');
      const [head = '', body = ''] = chunks.join('').split('\r\n\r\n');
      expect(head).toMatch(new RegExp(`^HTTP/1.1 ${expected} `));
      expect(ERROR_CATALOGUE.BAD_REQUEST.status).toContain(String(expected));
      expect(head).toMatch(/^x-request-id: [0-9a-f-]{36}$/m);
      expect(head).toContain(`content-length: ${body.length}`);
      expect(JSON.parse(body)).toMatchObject({ errors: [{ extensions: { code: 'BAD_REQUEST' } }] });
    }
  });
});

/** Sends a request as it is: `fetch` joins headers of the same name. */
async function send(url: string, options: RequestOptions, body: string): Promise<IncomingMessage> {
  const request = httpRequest(url, options);
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  response.resume();
  await once(response, 'end');
  return response;
}

import { POSITIONS_HEADER, writeConsistencyToken } from '@tributary/consistency';
import { ApiError, WrittenResult } from '@tributary/server';
import { GraphQLError } from 'graphql';
import { expect, test } from 'vitest';
import { gateway, subgraph } from '../../../test/harness/test-gateway.ts';
import type { ClientRequest, GatewayPlugin, RunRequest } from '../../src/index.js';

const SDL =
  'type Mutation { change: String } type Query { a: String b: String item(id: ID!): Item } type Item @key(fields: "id") { id: ID! name: String }';

/** A gateway over one subgraph, with plug-ins. */
async function start(...plugins: GatewayPlugin[]) {
  const items = await subgraph(SDL);
  const started = await gateway({ SUBGRAPHS: `items=${items.url}`, LOG_LEVEL: 'info' }, { plugins });
  await started.gateway.ready;
  return started;
}

interface Sent {
  readonly headers?: Record<string, string>;
  readonly operationName?: string;
  readonly variables?: Record<string, unknown>;
}

async function send(url: string, query: string, { headers = {}, ...rest }: Sent = {}) {
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ query, ...rest }),
  });
  // biome-ignore lint/suspicious/noExplicitAny: a GraphQL response of any shape.
  return { status: response.status, body: (await response.json()) as any };
}

/** A plug-in that notes which hooks are called, with the names of operations. */
function recorder(name: string, calls: string[]): GatewayPlugin {
  return {
    name,
    onRequest: (request, next) => {
      calls.push(`${name} onRequest ${request.operationName}`);
      return next(request);
    },
    onParse: ({ operationName }) => void calls.push(`${name} onParse ${operationName}`),
    onValidate: ({ operationName }) => {
      calls.push(`${name} onValidate ${operationName}`);
      return undefined;
    },
    onPlan: ({ operationName }) => void calls.push(`${name} onPlan ${operationName}`),
    onExecute: ({ operationName, clientVariables }) => {
      calls.push(`${name} onExecute ${operationName} ${JSON.stringify(clientVariables)}`);
      return {
        onResult: (result) => {
          calls.push(`${name} onResult ${operationName}`);
          return result;
        },
      };
    },
    onSubgraphFetch: (request, next, subgraph) => {
      calls.push(`${name} onSubgraphFetch ${subgraph}`);
      return next(request);
    },
  };
}

test('hooks are called in the order of the stages, and of the plug-ins', async () => {
  const calls: string[] = [];
  const { url } = await start(recorder('first', calls), recorder('second', calls));
  const query = 'query Find($id: ID!) { item(id: $id) { name } }';
  const request = { operationName: 'Find', variables: { id: '1' } };
  const both = (call: string) => [`first ${call}`, `second ${call}`];
  expect(await send(url, query, request)).toMatchObject({ status: 200 });
  const always = [
    ...both('onPlan Find'),
    ...both('onExecute Find {"id":"1"}'),
    ...both('onSubgraphFetch items'),
    ...both('onResult Find'),
  ];
  expect(calls.splice(0)).toEqual([
    ...both('onRequest Find'),
    ...both('onParse Find'),
    ...both('onValidate Find'),
    ...always,
  ]);
  // What is cached is neither parsed nor validated again.
  await send(url, query, request);
  expect(calls.splice(0)).toEqual([...both('onRequest Find'), ...always]);
});

test('of several operations in a document, each has its own name and variables', async () => {
  const calls: string[] = [];
  const { url } = await start(recorder('only', calls));
  const query = 'query A { a } query B($id: ID!) { item(id: $id) { id } }';
  await Promise.all([
    send(url, query, { operationName: 'A' }),
    send(url, query, { operationName: 'B', variables: { id: '7' } }),
  ]);
  expect(calls).toEqual(expect.arrayContaining(['only onExecute A {}', 'only onExecute B {"id":"7"}']));
});

const FAILING = ['onRequest', 'onParse', 'onValidate', 'onPlan', 'onExecute', 'onSubgraphFetch', 'onResult'] as const;

/** A plug-in whose hook throws. */
function failing(hook: (typeof FAILING)[number], error: Error): GatewayPlugin {
  const fail = () => {
    throw error;
  };
  if (hook === 'onResult') return { name: 'broken', onExecute: () => ({ onResult: fail }) };
  return { name: 'broken', [hook]: fail };
}

test.each(FAILING)('an ApiError thrown in %s is the error of the response', async (hook) => {
  const { url } = await start(failing(hook, new ApiError('FORBIDDEN', 'Not for you.')));
  const { body } = await send(url, '{ a }');
  expect(body.errors).toMatchObject([{ message: 'Not for you.', extensions: { code: 'FORBIDDEN' } }]);
  expect(body.data?.a ?? null).toBeNull();
});

test.each(FAILING)('an unexpected error in %s is logged with the name of the plug-in, and masked', async (hook) => {
  const { url, logs } = await start(failing(hook, new TypeError('secret 4711 is undefined')));
  const { body } = await send(url, '{ a }');
  expect(body.errors).toMatchObject([{ extensions: { code: 'INTERNAL_SERVER_ERROR' } }]);
  expect(JSON.stringify(body)).not.toContain('4711');
  const lines = logs.filter(({ level }) => level >= 50);
  expect(JSON.stringify(lines)).toContain(`the plug-in \\"broken\\" failed in ${hook}`);
  expect(JSON.stringify(lines)).toContain('secret 4711');
});

const wrong = (hooks: object) => ({ name: 'broken', ...hooks }) as GatewayPlugin;
/** A plug-in whose `onResult` is this. */
const returning = (onResult: (result: object) => unknown) => wrong({ onExecute: () => ({ onResult }) });
/** A plug-in that passes on a changed request. */
const changing = (change: object) =>
  wrong({ onRequest: (request: ClientRequest, next: RunRequest) => next(request.with(change)) });
/** A plug-in that responds in the place of the subgraph. */
const fetching = (result: object) => wrong({ onSubgraphFetch: async () => result });
const cyclic: { self?: unknown } = {};
cyclic.self = cyclic;

test.each([
  ['onParse', wrong({ onParse: async () => undefined })],
  ['onPlan', wrong({ onPlan: () => Promise.reject(new ApiError('FORBIDDEN', 'Not for you.')) })],
  ['onValidate', wrong({ onValidate: async () => [] })],
  ['onValidate', wrong({ onValidate: () => [new Error('no code')] })],
  ['onExecute', wrong({ onExecute: async () => undefined })],
  ['onResult', wrong({ onExecute: () => ({ onResult: () => undefined }) })],
  ['onResult', wrong({ onExecute: () => ({ onResult: async () => ({ data: {} }) }) })],
  ['onResult', wrong({ onExecute: () => ({ onResult: () => ({ data: {}, errors: [{ message: 'plain' }] }) }) })],
  ['onResult', returning(() => [])],
  ['onResult', returning((result) => ({ ...result, data: 'text' }))],
  ['onResult', returning((result) => ({ ...result, data: [] }))],
  ['onResult', returning((result) => ({ ...result, data: { change: 1n } }))],
  ['onResult', returning((result) => Object.assign(result, { data: { change: 1n } }))],
  ['onResult', returning((result) => ({ ...result, extensions: { count: 1n } }))],
  ['onResult', returning((result) => ({ ...result, extensions: { cyclic } }))],
  ['onResult', returning((result) => ({ ...result, extensions: 'text' }))],
  ['onRequest', wrong({ onRequest: async () => undefined })],
  ['onRequest', wrong({ onRequest: (request: object, next: (request: object) => unknown) => next({ ...request }) })],
  ['onRequest', wrong({ onRequest: () => Promise.reject(undefined) })],
  ['onRequest', changing({ query: 5 })],
  ['onRequest', changing({ operationName: 5 })],
  ['onRequest', changing({ variables: 'text' })],
  ['onSubgraphFetch', wrong({ onSubgraphFetch: async () => undefined })],
  ['onSubgraphFetch', wrong({ onSubgraphFetch: async (_: object, next: (request?: object) => unknown) => next() })],
  ['onSubgraphFetch', fetching({})],
  ['onSubgraphFetch', fetching([])],
  ['onSubgraphFetch', fetching({ data: 'text' })],
  ['onSubgraphFetch', fetching({ data: [] })],
  ['onSubgraphFetch', fetching({ data: { change: 1n } })],
  ['onSubgraphFetch', fetching({ errors: [] })],
  ['onSubgraphFetch', fetching({ errors: [null] })],
  ['onSubgraphFetch', fetching({ data: {}, errors: 'text' })],
])('a hook that does not keep its contract fails the request, and is named: %s %#', async (hook, plugin) => {
  const outer: GatewayPlugin = { name: 'outer', onRequest: (request, next) => next(request) };
  const { url, logs } = await start(outer, plugin);
  const { body } = await send(url, 'mutation Change { change }');
  expect(body.errors).toMatchObject([{ extensions: { code: 'INTERNAL_SERVER_ERROR' } }]);
  expect(body.data?.change ?? null).toBeNull();
  const lines = JSON.stringify(logs.filter(({ level }) => level >= 50));
  expect(lines).toContain(`the plug-in \\"broken\\" failed in ${hook}`);
  if (hook !== 'onRequest') expect(lines).toContain(body.errors[0].extensions.requestId);
});

test('the cause of a GraphQL error that a plug-in throws names the plug-in in the log', async () => {
  const originalError = new TypeError('secret 4711 is undefined');
  const error = new GraphQLError('Try later.', { extensions: { code: 'INTERNAL_SERVER_ERROR' }, originalError });
  const outer: GatewayPlugin = { name: 'outer', onRequest: (request, next) => next(request) };
  for (const hook of ['onRequest', 'onPlan'] as const) {
    const { url, logs } = await start(outer, failing(hook, error));
    const { body } = await send(url, '{ a }');
    expect(body.errors).toMatchObject([{ message: 'Try later.', extensions: { code: 'INTERNAL_SERVER_ERROR' } }]);
    expect(logs.filter(({ level }) => level >= 50)).toMatchObject([
      { msg: 'a plug-in failed', err: { message: expect.stringContaining(`"broken" failed in ${hook}`) } },
    ]);
  }
});

test('what a plug-in passes on unchanged is no fault of its own', async () => {
  const items = await subgraph(SDL);
  const {
    url,
    gateway: started,
    logs,
  } = await gateway(
    { SUBGRAPHS: `items=${items.url}`, SUPERGRAPH_POLL_INTERVAL: '1h' },
    { plugins: [{ name: 'outer', onSubgraphFetch: (request, next) => next(request) }] },
  );
  await started.ready;
  items.answerWith((response) => response.setHeader('content-type', 'application/json').end('{"errors":null}'));
  await send(url, '{ a }');
  expect(JSON.stringify(logs)).not.toContain('plug-in');
});

test('an empty list of errors is left out of the response', async () => {
  const { url } = await start(returning((result) => ({ ...result, errors: [] })));
  expect((await send(url, '{ a }')).body).toEqual({ data: { a: 'a' } });
});

test('a plug-in may be an object of a class', async () => {
  class Counter implements GatewayPlugin {
    readonly name = 'counter';
    calls = 0;
    onRequest(...[request, next]: Parameters<NonNullable<GatewayPlugin['onRequest']>>) {
      this.calls += 1;
      return next(request);
    }
    onPlan() {
      this.calls += 1;
    }
    onExecute() {
      this.calls += 1;
      return undefined;
    }
    onSubgraphFetch(...[request, next]: Parameters<NonNullable<GatewayPlugin['onSubgraphFetch']>>) {
      this.calls += 1;
      return next(request);
    }
  }
  const counter = new Counter();
  const { url } = await start(counter);
  expect((await send(url, '{ a }')).body).toEqual({ data: { a: 'a' } });
  expect(counter.calls).toBe(4);
});

const leavingOut: [string, (result: object) => unknown][] = [
  ['leaves out its data', () => ({ errors: [new ApiError('FORBIDDEN', 'Not for you.')] })],
  ['fails', () => JSON.parse('no JSON')],
  ['returns what JSON cannot represent', (result) => ({ ...result, extensions: { count: 1n } })],
];

test.each(leavingOut)('a mutation keeps its token when a plug-in %s', async (_, onResult) => {
  const items = await subgraph(SDL);
  const { url, gateway: started } = await gateway(
    { SUBGRAPHS: `items=${items.url}`, SUPERGRAPH_POLL_INTERVAL: '1h' },
    { plugins: [returning(onResult)] },
  );
  await started.ready;
  items.answerWith((response) => {
    response.setHeader(POSITIONS_HEADER, 'items=12').setHeader('content-type', 'application/json');
    response.end('{"data":{"change":"changed"}}');
  });
  const response = await fetch(`${url}/graphql`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/graphql-response+json',
      'x-consistency-cookie': 'true',
    },
    body: JSON.stringify({ query: 'mutation Change { change }' }),
  });
  expect([response.status, ((await response.json()) as { data: unknown }).data]).toEqual([200, null]);
  const token = writeConsistencyToken(new Map([['items', 12]]));
  expect(response.headers.get('x-consistency-token')).toBe(token);
  expect(response.headers.getSetCookie()).toEqual([expect.stringContaining(`=${token};`)]);
});

test('the cancellation that an outer plug-in passes to next reaches the subgraph through an inner plug-in', async () => {
  const controller = new AbortController();
  const signals: (AbortSignal | null)[] = [];
  const outer: GatewayPlugin = {
    name: 'outer',
    onRequest: (request, next) => next(request, { signal: controller.signal, aborted: false }),
  };
  const inner: GatewayPlugin = {
    name: 'inner',
    onRequest: (request, next) => next(request),
    onSubgraphFetch(request, next) {
      signals.push(request.signal);
      return next(request);
    },
  };
  const items = await subgraph(SDL);
  const { url, gateway: started } = await gateway(
    { SUBGRAPHS: `items=${items.url}`, SUBGRAPH_FETCH_DEDUPLICATION: 'off' },
    { plugins: [outer, inner] },
  );
  await started.ready;
  expect((await send(url, '{ a }')).body).toEqual({ data: { a: 'a' } });
  expect(signals.map((signal) => signal === controller.signal)).toEqual([true]);
});

test('a plug-in can respond in the place of the gateway, or change the document', async () => {
  const documents = new Map([['hash-1', '{ a }']]);
  const { url } = await start(
    {
      name: 'closed',
      onRequest: async (request, next) =>
        request.http.headers['x-closed'] ? new WrittenResult('{"data":{"closed":true}}', true) : next(request),
    },
    {
      name: 'persisted documents',
      onRequest(request, next) {
        const query = documents.get(request.query);
        if (query === undefined) throw new ApiError('BAD_REQUEST', 'Send the id of a document.');
        return next(request.with({ query }));
      },
    },
  );
  expect((await send(url, '{ a }', { headers: { 'x-closed': '1' } })).body).toEqual({ data: { closed: true } });
  expect((await send(url, 'hash-1')).body).toEqual({ data: { a: 'a' } });
  // The second time from the cache, and deduplicated.
  const again = await Promise.all([send(url, 'hash-1'), send(url, 'hash-1')]);
  expect(again.map(({ body }) => body)).toEqual([{ data: { a: 'a' } }, { data: { a: 'a' } }]);
  expect((await send(url, '{ a }')).body.errors).toMatchObject([{ message: 'Send the id of a document.' }]);
});

test('requests that differ in a header that a plug-in reads are not deduplicated', async () => {
  const { url } = await start({
    name: 'greeting',
    requestHeaders: ['X-Name'],
    onExecute: ({ clientHeaders }) => ({
      onResult: (result) => ({ ...result, extensions: { hello: clientHeaders['x-name'] } }),
    }),
  });
  await send(url, '{ a }', { headers: { 'x-name': 'first' } });
  const [ann, bob] = await Promise.all([
    send(url, '{ a }', { headers: { 'x-name': 'Ann' } }),
    send(url, '{ a }', { headers: { 'x-name': 'Bob' } }),
  ]);
  expect([ann.body.extensions, bob.body.extensions]).toEqual([{ hello: 'Ann' }, { hello: 'Bob' }]);
});
